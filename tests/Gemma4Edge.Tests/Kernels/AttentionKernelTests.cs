using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class AttentionKernelTests
{
    public static TheoryData<KvFormat, int, int, int> Shapes()
    {
        var data = new TheoryData<KvFormat, int, int, int>();
        foreach (KvFormat format in Enum.GetValues<KvFormat>())
        {
            foreach ((int headDim, int from, int to) in ((int, int, int)[])[(8, 0, 1), (8, 3, 9), (10, 17, 24), (256, 20, 37), (512, 0, 33)])
            {
                data.Add(format, headDim, from, to);
            }
        }

        return data;
    }

    /// <summary>Two key/value heads, three query heads each, a ring that has wrapped where <paramref name="to"/> exceeds its capacity.</summary>
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Attend_MatchesDoublePrecision(KvFormat format, int headDim, int from, int to)
    {
        const int KvHeads = 2, Queries = 3;
        int capacity = (to - from) + 2;
        KvPlane keys = KvPlane.Create(format, capacity, KvHeads * headDim);
        KvPlane values = KvPlane.Create(format, capacity, KvHeads * headDim);
        float[][] keyRows = Fill(keys, to, 1), valueRows = Fill(values, to, 1000);
        float[] queries = RandomWeights.Floats(Queries * headDim, 3, (float)Math.Sqrt(40.0 / headDim));
        var output = new float[Queries * headDim];
        var scratch = new float[AttentionKernel.ScratchLength(Queries, to - from, headDim)];

        AttentionKernel.Attend(queries, keys, values, 1, headDim, from, to, scratch, output);

        for (int head = 0; head < Queries; head++)
        {
            double[] weights = [.. Enumerable.Range(from, to - from).Select(p => Math.Exp(
                Enumerable.Range(0, headDim).Sum(i => (double)queries[(head * headDim) + i] * keyRows[p][headDim + i])))];
            for (int i = 0; i < headDim; i++)
            {
                double expected = Enumerable.Range(from, to - from).Sum(p => weights[p - from] * valueRows[p][headDim + i]) / weights.Sum();
                Assert.Equal(expected, output[(head * headDim) + i], 2e-6);
            }
        }
    }

    [Theory]
    [InlineData(KvFormat.F32)]
    [InlineData(KvFormat.F16)]
    public void Grow_KeepsTheRows(KvFormat format)
    {
        KvPlane plane = KvPlane.Create(format, 3, 4);
        float[][] rows = Fill(plane, 3, 5);
        plane.Grow(7);
        plane.Write(5, [1, 2, 3, 4]);
        Assert.Equal(7, plane.Capacity);
        Assert.Equal(7 * 4 * (format == KvFormat.F32 ? 4 : 2), plane.Bytes);
        Assert.Equal(rows[2], plane.Read(2, 0, new float[4]).ToArray());
        Assert.Equal([2, 3], plane.Read(5, 1, new float[2]).ToArray());
    }

    [Fact]
    public void Attend_Refuses_WhatDoesNotFit()
    {
        KvPlane plane = KvPlane.Create(KvFormat.F32, 4, 8);
        var scratch = new float[64];
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 8, 3, 3, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 8, 0, 5, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 1, 8, 0, 4, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 8, 0, 4, scratch, new float[7]));
        Assert.Throws<ArgumentException>(() => plane.Write(0, new float[7]));
    }

    /// <summary>Writes the positions [0, count) and returns what the format kept of them (halves are rounded; the rest is exact).</summary>
    private static float[][] Fill(KvPlane plane, int count, int seed)
    {
        var rows = new float[count][];
        for (int position = 0; position < count; position++)
        {
            float[] row = RandomWeights.Floats(plane.RowLength, seed + position);
            plane.Write(position, row);
            rows[position] = plane is KvPlaneF16 ? [.. row.Select(v => (float)(Half)v)] : row;
        }

        return rows;
    }
}

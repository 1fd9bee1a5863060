using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class AttentionKernelTests
{
    public static TheoryData<KvFormat, int, int, int> Shapes()
    {
        var data = new TheoryData<KvFormat, int, int, int>();
        foreach (KvFormat format in Enum.GetValues<KvFormat>())
        {
            foreach ((int headDim, int from, int to) in ((int, int, int)[])[(8, 0, 1), (8, 3, 9), (10, 17, 24), (32, 3, 9), (64, 17, 24), (128, 0, 90), (256, 20, 37), (512, 0, 33)])
            {
                if (KvPlane.CanHold(format, headDim))
                {
                    data.Add(format, headDim, from, to);
                }
            }
        }

        return data;
    }

    /// <summary>Two key/value heads, three query heads each, a ring that has wrapped where <paramref name="to"/> exceeds its capacity. Keys and values have different rotations.</summary>
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Attend_MatchesDoublePrecision(KvFormat format, int headDim, int from, int to)
    {
        const int Queries = 3;
        int capacity = (to - from) + 2;
        KvPlane keys = Plane(format, headDim, signSeed: 0, capacity);
        KvPlane values = Plane(format, headDim, signSeed: 2, capacity);
        Fill(keys, to, 1);
        Fill(values, to, 1000);
        float[][] keyRows = Kept(keys, to), valueRows = Kept(values, to);
        float[] queries = RandomWeights.Floats(Queries * headDim, 3, (float)Math.Sqrt(40.0 / headDim));
        var output = new float[Queries * headDim];
        var scratch = new float[AttentionKernel.ScratchLength(Queries, to - from, headDim)];

        AttentionKernel.Attend(queries, keys, values, 1, from, to, scratch, output);

        for (int head = 0; head < Queries; head++)
        {
            double[] weights = [.. Enumerable.Range(from, to - from).Select(p => Math.Exp(
                Enumerable.Range(0, headDim).Sum(i => (double)queries[(head * headDim) + i] * keyRows[p][i])))];
            for (int i = 0; i < headDim; i++)
            {
                double expected = Enumerable.Range(from, to - from).Sum(p => weights[p - from] * valueRows[p][i]) / weights.Sum();
                Assert.Equal(expected, output[(head * headDim) + i], 2e-6);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Grow_KeepsTheRows(KvFormat format)
    {
        KvPlane plane = Plane(format, 32, signSeed: 0, capacity: 3);
        Fill(plane, 3, 5);
        float[][] before = Kept(plane, 3);
        plane.Grow(7);
        plane.Write(5, RandomWeights.Floats(64, 77));
        Assert.Equal(7, plane.Capacity);
        Assert.Equal(before, Kept(plane, 3));
        KvPlane fresh = Plane(format, 32, signSeed: 0, capacity: 7);
        fresh.Write(5, RandomWeights.Floats(64, 77));
        Assert.Equal(Kept(fresh, 6)[5], Kept(plane, 6)[5]);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Bytes_IsWhatAPlaneAllocates(KvFormat format)
    {
        foreach (int headDim in (int[])[32, 64, 512])
        {
            Plane(format, headDim, signSeed: 0, capacity: 2000);
            long before = GC.GetAllocatedBytesForCurrentThread();
            KvPlane plane = Plane(format, headDim, signSeed: 0, capacity: 2000);
            long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.InRange(allocatedBytes, plane.Bytes, plane.Bytes + 20_000); // signs, tables and one rotated row beside the codes
        }
    }

    public static TheoryData<KvFormat> Formats => [.. Enum.GetValues<KvFormat>()];

    [Fact]
    public void Attend_Refuses_WhatDoesNotFit()
    {
        KvPlane plane = KvPlane.Create(KvFormat.F32, new KvPlaneShape(1, 8, 0, 1), 4);
        var scratch = new float[64];
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 3, 3, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 0, 5, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 1, 0, 4, scratch, new float[8]));
        Assert.Throws<ArgumentException>(() => AttentionKernel.Attend(new float[8], plane, plane, 0, 0, 4, scratch, new float[7]));
        Assert.Throws<ArgumentException>(() => plane.Write(0, new float[7]));
    }

    private static KvPlane Plane(KvFormat format, int headDim, ulong signSeed, int capacity) =>
        KvPlane.Create(format, new KvPlaneShape(2, headDim, signSeed, MaxChunk: 16), capacity);

    /// <summary>Writes the positions [0, count).</summary>
    private static void Fill(KvPlane plane, int count, int seed)
    {
        for (int position = 0; position < count; position++)
        {
            plane.Write(position, RandomWeights.Floats(plane.Shape.RowLength, seed + position));
        }
    }

    /// <summary>What the plane has kept of head 1 for a reader at position <paramref name="count"/> − 1, rotated back; what the ring has lost is nonsense.</summary>
    private static float[][] Kept(KvPlane plane, int count) =>
        [.. Enumerable.Range(0, count).Select(position =>
        {
            float[] row = plane.Read(position, 1, count - 1, new float[plane.Shape.HeadDim]).ToArray();
            plane.Rotation?.Undo(row);
            return row;
        })];
}

using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>How much of a head vector the formats of keys and values keep, and what they do with odd vectors.</summary>
public sealed class KvPlaneTests
{
    /// <summary>Relative square errors on Gaussian vectors that an independent implementation measured.</summary>
    [Theory]
    [InlineData(KvFormat.Kv8, 256, 4.85e-5)]
    [InlineData(KvFormat.Tq4, 32, 0.00835)]
    [InlineData(KvFormat.Tq4, 64, 0.00886)]
    [InlineData(KvFormat.Tq4, 128, 0.00916)]
    [InlineData(KvFormat.Tq4, 256, 0.00931)]
    [InlineData(KvFormat.Tq4, 512, 0.00940)]
    [InlineData(KvFormat.Polar4, 128, 0.00912)]
    [InlineData(KvFormat.Polar4, 512, 0.00912)]
    [InlineData(KvFormat.Prod4, 128, 0.01906)]
    [InlineData(KvFormat.Prod4, 256, 0.01906)]
    public void Error_OnGaussianVectors_IsTheKnownOne(KvFormat format, int headDim, double expected)
    {
        double error = RelativeError(format, headDim, Gaussian(4000 * headDim, seed: 1));
        Assert.InRange(error, 0.98 * expected, 1.02 * expected);
    }

    [Fact]
    public void PolarQuant_AsPublished_HasTheKnownError()
    {
        var codec = new PolarCodec(4, 2, 2, 2);
        float[] data = Gaussian(16 * 50_000, seed: 2);
        var codes = new byte[codec.CodeBytes];
        var radius = new Half[1];
        var block = new float[16];
        double error = 0, square = 0;
        for (int start = 0; start < data.Length; start += 16)
        {
            ReadOnlySpan<float> x = data.AsSpan(start, 16);
            codec.Encode(0, x, radius, codes);
            codec.Decode(0, radius, codes, block);
            (error, square) = Add(x, block, error, square);
        }

        Assert.Equal(6, codec.CodeBytes); // 8·4 + (4 + 2 + 1)·2 = 46 bits
        Assert.InRange(error / square, 0.98 * 0.0320, 1.02 * 0.0320);
    }

    /// <summary>One coordinate far above the rest, as trained keys have them: without a rotation one scale would leave the others nothing.</summary>
    [Theory]
    [InlineData(KvFormat.Kv8)]
    [InlineData(KvFormat.Tq4)]
    [InlineData(KvFormat.Polar4)]
    [InlineData(KvFormat.Prod4)]
    public void Error_DoesNotGrow_WithOutliers(KvFormat format)
    {
        const int HeadDim = 256;
        float[] data = Gaussian(200 * HeadDim, seed: 3);
        double plain = RelativeError(format, HeadDim, data);
        for (int i = 5; i < data.Length; i += HeadDim)
        {
            data[i] = 40;
        }

        Assert.InRange(RelativeError(format, HeadDim, data), 0.1 * plain, 1.3 * plain);
    }

    [Theory]
    [MemberData(nameof(Rotating))]
    public void Zeros_StayZeros(KvFormat format)
    {
        foreach (int headDim in (int[])[32, 64, 128, 256, 512])
        {
            Assert.All(RoundTrip(format, headDim, new float[headDim]), value => Assert.Equal(0, value));
        }
    }

    [Theory]
    [MemberData(nameof(Rotating))]
    public void SizeOfAVector_DoesNotMatter(KvFormat format)
    {
        float[] data = Gaussian(256, seed: 4);
        float[] small = RoundTrip(format, 256, [.. data.Select(v => v / 64)]);
        Assert.Equal(RoundTrip(format, 256, data).Select(v => v / 64), small);
    }

    [Theory]
    [InlineData(32)]
    [InlineData(64)]
    [InlineData(128)]
    [InlineData(256)]
    [InlineData(512)]
    public void Rotation_KeepsInnerProducts_AndCanBeUndone(int headDim)
    {
        var rotation = new HadamardRotation(headDim, headDim, signSeed: 9);
        float[] q = Gaussian(headDim, seed: 5), k = Gaussian(headDim, seed: 6);
        float[] rotatedQ = [.. q], rotatedK = [.. k];
        rotation.Apply(rotatedQ);
        rotation.Apply(rotatedK);

        Assert.Equal(Dot(q, k), Dot(rotatedQ, rotatedK), 1e-3);
        Assert.NotEqual(q[0], rotatedQ[0], 1e-3);
        rotation.Undo(rotatedQ);
        Assert.All(q.Zip(rotatedQ), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
    }

    [Fact]
    public void Decoders_EqualTheirDefinition()
    {
        var random = new Random(7);
        foreach (int headDim in (int[])[32, 64, 128, 256, 512])
        {
            var bytes = new byte[headDim];
            random.NextBytes(bytes);
            var y = new float[headDim];
            const float Scale = 0.0371f;

            CodeDecoder.Bytes(Array.ConvertAll(bytes, b => (sbyte)b), Scale, y);
            Assert.Equal(bytes.Select(b => Scale * (sbyte)b), y);

            sbyte[] levels = LloydMaxTable.Bits4.Levels.ToArray();
            byte[] nibbles = bytes[..(headDim / 2)];
            CodeDecoder.Nibbles(nibbles, levels, Scale, y);
            Assert.Equal([.. nibbles.Select(b => Scale * levels[b & 15]), .. nibbles.Select(b => Scale * levels[b >> 4])], y);
        }
    }

    [Fact]
    public void NearestCode_IsTheNearest()
    {
        foreach (LloydMaxTable table in (LloydMaxTable[])[LloydMaxTable.Bits2, LloydMaxTable.Bits3, LloydMaxTable.Bits4])
        {
            for (float units = -90; units < 90; units += 0.0625f)
            {
                double best = table.Levels.ToArray().Min(level => Math.Abs(units - level));
                Assert.Equal(best, Math.Abs(units - table.Levels[table.NearestCode(units)]));
            }

            Assert.InRange(table.NearestCode(float.NaN), 0, table.Levels.Length - 1);
            Assert.Equal(0, table.NearestCode(float.NegativeInfinity));
            Assert.Equal(table.Levels.Length - 1, table.NearestCode(float.PositiveInfinity));
        }
    }

    /// <summary>The first 4 positions and the last 64 that the reader sees come from 8 bits, whoever reads; the rest from 4.</summary>
    [Fact]
    public void Ends_AreReadAtEightBits()
    {
        const int HeadDim = 32, Count = 300, MaxChunk = 16;
        var shape = new KvPlaneShape(1, HeadDim, SignSeed: 0, MaxChunk);
        KvPlane ends = KvPlane.Create(KvFormat.Tq4Ends, shape, Count), four = KvPlane.Create(KvFormat.Tq4, shape, Count), eight = KvPlane.Create(KvFormat.Kv8, shape, Count);
        for (int position = 0; position < Count; position++)
        {
            float[] x = Gaussian(HeadDim, seed: position);
            ends.Write(position, x);
            four.Write(position, x);
            eight.Write(position, x);
        }

        foreach (int newest in (int[])[Count - 1, Count - MaxChunk]) // the last and the first row of a chunk
        {
            for (int position = 0; position <= newest; position++)
            {
                KvPlane expected = position < 4 || position > newest - 64 ? eight : four;
                Assert.Equal(Read(expected, position, newest), Read(ends, position, newest));
            }
        }

        // a reader far behind: its latest rows are no longer there at 8 bits, and it must not be given other positions' rows
        Assert.Equal(Read(four, 150, 150), Read(ends, 150, 150));
    }

    public static TheoryData<KvFormat> Rotating => [.. Enum.GetValues<KvFormat>().Where(format => !KvPlane.CanHold(format, 33))];

    private static double RelativeError(KvFormat format, int headDim, float[] data)
    {
        KvPlane plane = KvPlane.Create(format, new KvPlaneShape(1, headDim, SignSeed: 4, MaxChunk: 1), 1);
        var row = new float[headDim];
        double error = 0, square = 0;
        for (int start = 0; start < data.Length; start += headDim)
        {
            ReadOnlySpan<float> x = data.AsSpan(start, headDim);
            plane.Write(0, x);
            plane.Read(0, 0, 1000, row);
            plane.Rotation!.Undo(row);
            (error, square) = Add(x, row, error, square);
        }

        return error / square;
    }

    private static float[] RoundTrip(KvFormat format, int headDim, float[] x)
    {
        KvPlane plane = KvPlane.Create(format, new KvPlaneShape(1, headDim, SignSeed: 4, MaxChunk: 1), 1);
        plane.Write(0, x);
        return Read(plane, 0, 0);
    }

    private static float[] Read(KvPlane plane, int position, int newest)
    {
        var row = new float[plane.Shape.HeadDim];
        plane.Read(position, 0, newest, row);
        return row;
    }

    private static (double Error, double Square) Add(ReadOnlySpan<float> x, ReadOnlySpan<float> kept, double error, double square)
    {
        for (int i = 0; i < x.Length; i++)
        {
            error += Math.Pow(x[i] - kept[i], 2);
            square += Math.Pow(x[i], 2);
        }

        return (error, square);
    }

    private static double Dot(float[] a, float[] b) => a.Zip(b).Sum(pair => (double)pair.First * pair.Second);

    private static float[] Gaussian(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return values;
    }
}

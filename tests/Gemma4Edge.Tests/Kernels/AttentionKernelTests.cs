using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class AttentionKernelTests
{
    public static TheoryData<KvFormat, int, int, int> Shapes()
    {
        var data = new TheoryData<KvFormat, int, int, int>();
        foreach (KvFormat format in Enum.GetValues<KvFormat>())
        {
            foreach ((int headDim, int from, int to) in ((int, int, int)[])[(8, 0, 1), (8, 3, 9), (10, 17, 24), (32, 3, 9), (64, 17, 24), (128, 0, 90), (256, 20, 37), (512, 0, 33), (64, 100, 293)])
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

        float[] output = Attend(keys, values, [new Token(queries, from, to)]);

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

    /// <summary>Tokens that see other positions and share the decoded rows, some of them alone in their first or last block.</summary>
    [Fact]
    public void Attend_GivesATokenTheSame_WhoeverIsBesideIt()
    {
        const int HeadDim = 32;
        KvPlane keys = Plane(KvFormat.Kv8, HeadDim, signSeed: 0, capacity: 400), values = Plane(KvFormat.Tq4, HeadDim, signSeed: 2, capacity: 400);
        Fill(keys, 300, 1);
        Fill(values, 300, 1000);
        (int From, int To)[] windows = [(0, 1), (0, 64), (3, 65), (63, 128), (129, 130), (140, 300), (0, 300)];
        Token[] tokens = [.. windows.Select((window, i) => new Token(RandomWeights.Floats(((i % 3) + 1) * HeadDim, 10 + i, 0.5f), window.From, window.To))];

        float[] together = Attend(keys, values, tokens);

        Assert.Equal(tokens.SelectMany(token => Attend(keys, values, [token])), together);
    }

    /// <summary>Large scores, in rising and falling order: the maximum moves between runs, and only differences count.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public void Merge_OfRuns_IsTheWhole(int direction)
    {
        const int HeadDim = 32, Count = 250;
        KvPlane keys = KvPlane.Create(KvFormat.F32, new KvPlaneShape(2, HeadDim, 0, 1), Count), values = Plane(KvFormat.F32, HeadDim, signSeed: 2, Count);
        Fill(values, Count, 1000);
        for (int position = 0; position < Count; position++)
        {
            float[] row = RandomWeights.Floats(2 * HeadDim, position, 0.1f);
            row[HeadDim] = direction * position * 0.2f;
            keys.Write(position, row);
        }

        float[] query = RandomWeights.Floats(HeadDim, 5);
        query[0] = 20;
        var queries = new AttentionQueries();
        queries.Clear(HeadDim);
        queries.Add(query, keys, 7, Count);
        AttentionSums merged = new(), run = new();
        merged.Clear(queries);
        foreach ((int first, int end) in ((int, int)[])[(7, 64), (64, 192), (192, Count)])
        {
            run.Clear(queries);
            new AttentionKernel().Attend(queries, keys, values, 1, first, end, run);
            merged.Merge(run);
        }

        var output = new float[HeadDim];
        merged.Write(0, values, output);
        Assert.All(Attend(keys, values, [new Token(query, 7, Count)]).Zip(output), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
    }

    /// <summary>A key that is no number in one of two runs: the answer must not be made of the other run alone.</summary>
    [Fact]
    public void Merge_KeepsWhatIsNoNumber()
    {
        const int HeadDim = 32, Count = 128;
        KvPlane keys = Plane(KvFormat.F32, HeadDim, 0, Count), values = Plane(KvFormat.F32, HeadDim, 2, Count);
        Fill(keys, Count, 1);
        Fill(values, Count, 1000);
        var notNumbers = new float[2 * HeadDim];
        Array.Fill(notNumbers, float.NaN);
        keys.Write(100, notNumbers);
        var queries = new AttentionQueries();
        queries.Clear(HeadDim);
        queries.Add(RandomWeights.Floats(HeadDim, 5), keys, 0, Count);
        AttentionSums merged = new(), run = new();
        merged.Clear(queries);
        foreach (int first in (int[])[0, 64])
        {
            run.Clear(queries);
            new AttentionKernel().Attend(queries, keys, values, 1, first, first + 64, run);
            merged.Merge(run);
        }

        var output = new float[HeadDim];
        merged.Write(0, values, output);
        Assert.All(output, value => Assert.True(float.IsNaN(value)));
    }

    /// <summary>What an earlier use left in the buffers, here not a number, must not be seen.</summary>
    [Fact]
    public void Attend_DoesNotSee_WhatTheBuffersHeld()
    {
        var kernel = new AttentionKernel();
        var notNumbers = new float[96];
        Array.Fill(notNumbers, float.NaN);
        KvPlane odd = Plane(KvFormat.F32, 20, 0, 64), nothing = Plane(KvFormat.F32, 48, 0, 64);
        Fill(odd, 64, 1);
        for (int position = 0; position < 64; position++)
        {
            nothing.Write(position, notNumbers);
        }

        float[] query = RandomWeights.Floats(20, 3);
        Attend(nothing, nothing, [new Token(new float[4 * 48], 0, 64)], kernel);
        Assert.Equal(Attend(odd, odd, [new Token(query, 1, 64)]), Attend(odd, odd, [new Token(query, 1, 64)], kernel));
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
        KvPlane plane = KvPlane.Create(KvFormat.F32, new KvPlaneShape(1, 8, 0, 1), 4), ends = Plane(KvFormat.Tq4Ends, 32, 0, 4);
        AttentionQueries queries = new(), two = new();
        queries.Clear(8);
        Assert.Throws<ArgumentException>(() => queries.Add(new float[8], plane, 3, 3));
        Assert.Throws<ArgumentException>(() => queries.Add(new float[8], plane, 0, 5));
        Assert.Throws<ArgumentException>(() => queries.Add(new float[7], plane, 0, 4));
        Assert.Throws<ArgumentException>(() => queries.Add(new float[32], ends, 0, 4));
        queries.Add(new float[8], plane, 0, 4);
        var sums = new AttentionSums();
        sums.Clear(queries);
        Assert.Throws<ArgumentException>(() => new AttentionKernel().Attend(queries, plane, plane, 1, 0, 4, sums));
        Assert.Throws<ArgumentException>(() => new AttentionKernel().Attend(queries, plane, ends, 0, 0, 4, sums));
        Assert.Throws<ArgumentException>(() => sums.Write(0, plane, new float[16]));
        Assert.Throws<ArgumentException>(() => plane.Write(0, new float[7]));

        two.Clear(32);
        two.Add(new float[32], ends, 0, 3);
        two.Add(new float[32], ends, 0, 4);
        Assert.Throws<ArgumentException>(() => new AttentionKernel().Attend(two, ends, ends, 0, 0, 4, sums));
    }

    private sealed record Token(float[] Queries, int From, int To);

    /// <summary>Attention of the tokens' queries on head 1, all in one call.</summary>
    private static float[] Attend(KvPlane keys, KvPlane values, Token[] tokens, AttentionKernel? kernel = null)
    {
        var queries = new AttentionQueries();
        queries.Clear(keys.Shape.HeadDim);
        foreach (Token token in tokens)
        {
            queries.Add(token.Queries, keys, token.From, token.To);
        }

        var sums = new AttentionSums();
        sums.Clear(queries);
        (kernel ?? new AttentionKernel()).Attend(queries, keys, values, 1, queries.From, queries.To, sums);
        var output = new float[queries.Count * keys.Shape.HeadDim];
        sums.Write(0, values, output);
        return output;
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
            var row = new float[plane.Shape.HeadDim];
            plane.Read(position, 1, count - 1, row);
            plane.Rotation?.Undo(row);
            return row;
        })];
}

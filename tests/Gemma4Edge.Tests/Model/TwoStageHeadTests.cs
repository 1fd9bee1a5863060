using System.Numerics.Tensors;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Tests.Kernels;

namespace Gemma4Edge.Tests.Model;

/// <summary>The two-stage head against the full one, on matrices made for it.</summary>
public sealed unsafe class TwoStageHeadTests : IDisposable
{
    private const float Cap = 30;
    private readonly WorkerPool _pool = new(2);
    private readonly MatrixMultiplier _multiplier;

    public TwoStageHeadTests() => _multiplier = new MatrixMultiplier(CpuKernels.Select(null), _pool, ActivationFormat.Auto);

    public void Dispose() => _pool.Dispose();

    [Theory]
    [InlineData(Cap)]
    [InlineData(0f)]
    public void Shortlist_HasTheBestScores_AndTheFullHeadsLogits(float cap)
    {
        using EncodedMatrix matrix = Nest(rows: 5003, columns: 96);
        float[] hidden = EncodedMatrix.Gaussian(96, seed: 2, deviation: 20);
        float[] full = Full(matrix.Matrix, hidden, cap);
        float[] scores = new float[5003], logits = new float[5003];
        _multiplier.Multiply(matrix.Matrix.UpperPlane(), hidden, scores, 1);
        int[] byScore = [.. Enumerable.Range(0, 5003).OrderByDescending(row => scores[row])];

        var head = new TwoStageHead(matrix.Matrix, _multiplier);
        head.Run(hidden, logits, cap);

        HashSet<int> best = [.. byScore[..TwoStageHead.Shortlist]];
        Assert.Equal(Enumerable.Range(0, 5003).Select(row => best.Contains(row) ? full[row] : float.NegativeInfinity), logits);
        int winner = best.MaxBy(row => full[row]);
        Assert.Equal(Array.IndexOf(byScore, winner) + 1, head.WinnerRanks.Max);
    }

    [Theory]
    [InlineData(40)]
    [InlineData(512)]
    public void SmallVocabulary_IsExact(int rows)
    {
        using EncodedMatrix matrix = Nest(rows, columns: 64);
        float[] hidden = EncodedMatrix.Gaussian(64, seed: 3), logits = new float[rows];
        new TwoStageHead(matrix.Matrix, _multiplier).Run(hidden, logits, Cap);
        Assert.Equal(Full(matrix.Matrix, hidden, Cap), logits);
    }

    [Fact]
    public void LargeVocabulary_FindsTheWinner()
    {
        const int Rows = 65536, Columns = 64, Queries = 64;
        using EncodedMatrix matrix = Nest(Rows, Columns);
        var head = new TwoStageHead(matrix.Matrix, _multiplier);
        float[] logits = new float[Rows], target = new float[Columns];
        for (int query = 0; query < Queries; query++)
        {
            // as much noise as target: the winner's logit is then 4 to 8 deviations of the others'
            _multiplier.DecodeRow(matrix.Matrix, query * 1021, target);
            float[] hidden = EncodedMatrix.Gaussian(Columns, query, deviation: 0.05f);
            TensorPrimitives.Add(hidden, target, hidden);
            head.Run(hidden, logits, Cap);
            Assert.Equal(TensorPrimitives.IndexOfMax(Full(matrix.Matrix, hidden, Cap)), TensorPrimitives.IndexOfMax(logits));
        }

        Assert.Equal(Queries, head.WinnerRanks.Tokens);
        Assert.InRange(head.WinnerRanks.Max, 1, TwoStageHead.Shortlist / 4);
        Assert.Equal(0, head.WinnerRanks.BeyondQuarter);
    }

    [Fact]
    public void EqualScores_GiveAWholeShortlist()
    {
        const int Rows = 3000, Columns = 32;
        float[] row = EncodedMatrix.Gaussian(Columns, seed: 4);
        TurboQuantDescriptor format = TurboQuantFormats.Nest(Columns, 1);
        using var matrix = new EncodedMatrix(format, [.. Enumerable.Repeat(row, Rows).SelectMany(values => values)], Columns);
        var logits = new float[Rows];
        new TwoStageHead(matrix.Matrix, _multiplier).Run(row, logits, Cap);
        Assert.Equal(TwoStageHead.Shortlist, logits.Count(float.IsFinite));
    }

    [Fact]
    public void Run_AllocatesNothing()
    {
        using EncodedMatrix matrix = Nest(rows: 3000, columns: 64);
        var head = new TwoStageHead(matrix.Matrix, _multiplier);
        float[] hidden = EncodedMatrix.Gaussian(64, seed: 5), logits = new float[3000];
        head.Run(hidden, logits, Cap);
        long before = GC.GetAllocatedBytesForCurrentThread();
        head.Run(hidden, logits, Cap);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    [Fact]
    public void Auto_IsTwoStages_WhereTheyReadLess()
    {
        WeightMatrix e2b = Shape(262144, 1536), demo = Shape(4096, 256);
        Assert.Equal(101_711_872 + (512 * (6208 + 384)), TwoStageHead.BytesRead(e2b));
        Assert.Equal((202_375_168, 100_663_296), (e2b.Bytes, TwoStageHead.LowerBytes(e2b)));
        Assert.True(TwoStageHead.IsChosen(HeadMode.Auto, e2b));
        Assert.False(TwoStageHead.IsChosen(HeadMode.Full, e2b));
        Assert.False(TwoStageHead.IsChosen(HeadMode.Auto, demo));
        Assert.True(TwoStageHead.IsChosen(HeadMode.TwoStage, demo));

        var plain = new WeightMatrix(QuantFormats.Q4_0, null, 262144, 1536);
        Assert.False(TwoStageHead.IsChosen(HeadMode.Auto, plain));
        Assert.Contains("q4_0", Assert.Throws<HeadModeException>(() => TwoStageHead.IsChosen(HeadMode.TwoStage, plain)).Message, StringComparison.Ordinal);

        static WeightMatrix Shape(int rows, int columns) => new(TurboQuantFormats.Nest(columns, 1), null, rows, columns);
    }

    [Fact]
    public void WinnerRanks_CountWhatIsBeyondAQuarter()
    {
        var ranks = new WinnerRanks(512);
        Assert.Equal((0, 0), (ranks.Median(), ranks.Max));
        foreach (int rank in (int[])[1, 2, 128, 129])
        {
            ranks.Add(rank);
        }

        Assert.Equal((4L, 1L, 2, 129), (ranks.Tokens, ranks.BeyondQuarter, ranks.Median(), ranks.Max));
    }

    [Theory]
    [InlineData(0f, 0, LogitRows.Shortlist)]
    [InlineData(1f, 64, LogitRows.Shortlist)]
    [InlineData(1f, 128, LogitRows.Shortlist)]
    [InlineData(1f, 129, LogitRows.Last)]
    [InlineData(1f, 0, LogitRows.Last)]
    public void Sampler_WantsAShortlist_OnlyWhereItChoosesAmongFew(float temperature, int topK, LogitRows wanted)
    {
        var sampler = new Sampler(8);
        sampler.Reset(new SamplingOptions { Temperature = temperature, TopK = topK });
        Assert.Equal(wanted, sampler.Wants);
    }

    [Fact]
    public void Sampler_NeverChoosesWhatIsNotInTheShortlist()
    {
        float[] logits = [float.NegativeInfinity, 1, float.NegativeInfinity, 2, float.NegativeInfinity];
        var sampler = new Sampler(5);
        sampler.Reset(new SamplingOptions { Temperature = SamplingOptions.MaxTemperature, TopK = 4, Seed = 1 });
        Assert.Equal([1, 3], Enumerable.Range(0, 200).Select(_ => sampler.Next(logits)).Distinct().Order());
    }

    /// <summary>The demo model with a head that is forced into two stages answers as with the full one, and its tokens reach the sampler exactly.</summary>
    [Fact]
    public void DemoModel_AnswersTheSame()
    {
        using var folder = new TemporaryFolder();
        ModelConverterTests.Convert(TestData.DemoModel, folder["m.gguf"], "tq4");
        using TestNetwork full = TestNetwork.Open(folder["m.gguf"], maxChunk: 64);
        using TestNetwork twoStage = TestNetwork.Open(folder["m.gguf"], maxChunk: 64, head: HeadMode.TwoStage);
        int[] prompt = [2, .. Enumerable.Range(100, 40)];
        KvCache fullCache = full.NewCache(), twoStageCache = twoStage.NewCache();
        full.Prefill(prompt, fullCache);
        twoStage.Prefill(prompt, twoStageCache);
        int[] next = [300];
        for (int i = 0; i < 60; i++)
        {
            float[] every = [.. full.Transformer.Forward(next, fullCache, LogitRows.Shortlist, CancellationToken.None)]; // full: the same as Last
            float[] shortlist = [.. twoStage.Transformer.Forward(next, twoStageCache, LogitRows.Shortlist, CancellationToken.None)];
            int best = TensorPrimitives.IndexOfMax(every);
            Assert.Equal(best, TensorPrimitives.IndexOfMax(shortlist));
            Assert.Equal(every, every.Zip(shortlist, (exact, listed) => float.IsFinite(listed) ? listed : exact));
            Assert.Equal(TwoStageHead.Shortlist, shortlist.Count(float.IsFinite));
            next[0] = best;
        }

        Assert.Null(full.Transformer.WinnerRanks);
        Assert.Equal(60, twoStage.Transformer.WinnerRanks!.Tokens);
    }

    private static EncodedMatrix Nest(int rows, int columns) =>
        new(TurboQuantFormats.Nest(columns, 1), EncodedMatrix.Gaussian(rows * columns, seed: 1, deviation: 0.05f), columns, threads: 2);

    private float[] Full(WeightMatrix w, float[] hidden, float cap)
    {
        var logits = new float[w.Rows];
        _multiplier.Multiply(w, hidden, logits, 1);
        if (cap > 0)
        {
            SoftCap.Apply(logits, cap);
        }

        return logits;
    }
}

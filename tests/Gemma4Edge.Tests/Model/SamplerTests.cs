using Gemma4Edge.Model;

namespace Gemma4Edge.Tests.Model;

public class SamplerTests
{
    private static readonly float[] s_logits = [1, 3, 2, -1, 3, 0]; // 3 stands twice

    [Fact]
    public void Greedy_TakesTheLargest_TheFirstOfEquals()
    {
        var sampler = new Sampler(s_logits.Length);
        sampler.Reset(SamplingOptions.Greedy);
        Assert.Equal(1, sampler.Next(s_logits));
    }

    [Theory]
    [InlineData(0, 1f, 0f)]
    [InlineData(3, 1f, 0f)]
    [InlineData(0, 0.7f, 0f)]
    [InlineData(4, 0.8f, 0.2f)]
    [InlineData(0, 1f, 0.3f)]
    public void Draws_FollowTheDistribution(int topK, float topP, float minP)
    {
        const int Draws = 20_000;
        const float Temperature = 0.8f;
        double[] expected = Expected(Temperature, topK, topP, minP);
        var sampler = new Sampler(s_logits.Length);
        sampler.Reset(new SamplingOptions { Temperature = Temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 7 });
        int[] counts = new int[s_logits.Length];
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Next(s_logits)]++;
        }

        for (int id = 0; id < counts.Length; id++)
        {
            // five standard deviations of a binomial; an excluded token must never be drawn
            double deviation = 5 * Math.Sqrt(Draws * expected[id] * (1 - expected[id]));
            Assert.InRange(counts[id], (Draws * expected[id]) - deviation, (Draws * expected[id]) + deviation);
        }
    }

    [Fact]
    public void TheSameSeed_GivesTheSameTokens()
    {
        var options = new SamplingOptions { Temperature = 2, TopK = 64, TopP = 0.95f, Seed = 42 };
        Assert.Equal(Draw(options), Draw(options));
        Assert.NotEqual(Draw(options), Draw(options with { Seed = 43 }));

        static int[] Draw(SamplingOptions options)
        {
            var random = new Random(1);
            float[] logits = [.. Enumerable.Range(0, 5000).Select(_ => random.NextSingle() * 4)];
            var sampler = new Sampler(logits.Length);
            sampler.Reset(options);
            return [.. Enumerable.Range(0, 50).Select(_ => sampler.Next(logits))];
        }
    }

    [Fact]
    public void TopK_KeepsTheLargest_WhereItIsLarge()
    {
        var random = new Random(3);
        float[] logits = [.. Enumerable.Range(0, 10_000).Select(_ => random.NextSingle())];
        HashSet<int> largest = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).Take(5000)];
        var sampler = new Sampler(logits.Length);
        sampler.Reset(new SamplingOptions { Temperature = 10, TopK = 5000, Seed = 1 });
        Assert.All(Enumerable.Range(0, 100).Select(_ => sampler.Next(logits)), id => Assert.Contains(id, largest));
    }

    [Fact]
    public void TopK_KeepsTheLargest_OfALargeVocabulary()
    {
        var random = new Random(3);
        float[] logits = [.. Enumerable.Range(0, 100_000).Select(_ => random.NextSingle())];
        HashSet<int> largest = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).Take(20)];
        var sampler = new Sampler(logits.Length);
        sampler.Reset(new SamplingOptions { Temperature = 10, TopK = 20, Seed = 1 });
        HashSet<int> drawn = [.. Enumerable.Range(0, 2000).Select(_ => sampler.Next(logits))];
        Assert.Equal(largest, drawn);
    }

    [Fact]
    public void ALogitThatIsNotANumber_IsAnError()
    {
        var sampler = new Sampler(3);
        Assert.Throws<InvalidDataException>(() => sampler.Next([0, float.NaN, 1]));
    }

    [Theory]
    [InlineData(-1f, 0, 1f, 0f, "temperature")]
    [InlineData(float.NaN, 0, 1f, 0f, "temperature")]
    [InlineData(1f, -1, 1f, 0f, "top_k")]
    [InlineData(1f, 0, 0f, 0f, "top_p")]
    [InlineData(1f, 0, 1f, 2f, "min_p")]
    public void OptionsOutsideTheirRange_NameThemselves(float temperature, int topK, float topP, float minP, string name)
    {
        var sampler = new Sampler(3);
        ArgumentException error = Assert.Throws<ArgumentException>(() =>
            sampler.Reset(new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP }));
        Assert.StartsWith(name, error.Message, StringComparison.Ordinal);
    }

    /// <summary>The distribution by its definition, in double precision.</summary>
    private static double[] Expected(double temperature, int topK, double topP, double minP)
    {
        int[] order = [.. Enumerable.Range(0, s_logits.Length).OrderByDescending(id => s_logits[id]).ThenBy(id => id)];
        int[] kept = topK > 0 ? order[..topK] : order;
        double[] weight = [.. kept.Select(id => Math.Exp((s_logits[id] - s_logits[kept[0]]) / temperature))];
        double sum = weight.Sum();
        double[] result = new double[s_logits.Length];
        double reached = 0;
        for (int i = 0; i < kept.Length && (i == 0 || (reached < topP * sum && weight[i] >= minP)); i++)
        {
            result[kept[i]] = weight[i];
            reached += weight[i];
        }

        return [.. result.Select(w => w / reached)];
    }
}

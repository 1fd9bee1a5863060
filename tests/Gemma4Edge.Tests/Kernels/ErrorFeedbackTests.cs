using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class ErrorFeedbackTests
{
    private const int Columns = 256;
    private const int Rows = 48;

    [Theory]
    [InlineData(96, 96)]
    [InlineData(160, 64)] // the last block is shorter
    public void Moments_AreTheWeightedSumsOfProducts(int columns, int span)
    {
        float[] x = EncodedMatrix.Gaussian(7 * columns, seed: 1);
        using var pool = new WorkerPool(3);
        var moments = new InputMoments(columns, span);
        moments.Add(x, 5, 1, pool);
        moments.Add(x.AsSpan(5 * columns), 2, 0.25f, pool);
        Assert.Equal(5.5, moments.Weight);
        for (int a = 0; a < columns; a++)
        {
            for (int b = a / span * span; b < Math.Min((a / span * span) + span, columns); b++)
            {
                double expected = Enumerable.Range(0, 7).Sum(token => (token < 5 ? 1 : 0.25) * x[(token * columns) + a] * x[(token * columns) + b]);
                Assert.Equal(expected, moments[a, b], 1e-4);
            }
        }
    }

    /// <summary>
    /// Inputs with eigenvalues i^−0.8, as in the experiment that the method was chosen by (1536 columns, 2.7 tokens per column: 0.46, 0.47 and 0.49 times
    /// the error of plain codes). With 256 columns and 16 tokens per column the gain is larger; the bounds leave room for that only.
    /// </summary>
    [Theory]
    [InlineData("tq4", 256, 0.15, 0.45)]
    [InlineData("tq3", 256, 0.15, 0.45)]
    [InlineData("tq2", 256, 0.15, 0.45)]
    [InlineData("tq4-nest", 256, 0.15, 0.45)]
    [InlineData("tq3", 128, 0.25, 0.75)] // smaller blocks know less
    public void Feedback_LowersTheErrorOfTheOutput_ForOtherInputsOfTheSameKind(string format, int span, double least, double most)
    {
        float[] mixing = EncodedMatrix.Gaussian(Columns * Columns, seed: 2);
        float[] weights = EncodedMatrix.Gaussian(Rows * Columns, seed: 3);
        float[] others = Correlated(mixing, 512, seed: 5);
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        using var plain = new EncodedMatrix(descriptor, weights, Columns);
        using var fed = new EncodedMatrix(descriptor, weights, Columns, feedback: Feedback(Correlated(mixing, 4096, seed: 4), descriptor, span));
        double ratio = OutputError(weights, fed.Decode(), others) / OutputError(weights, plain.Decode(), others);
        Assert.InRange(ratio, least, most);
        Assert.True(fed.RelativeError > plain.RelativeError, "only the output can gain; the weights must lose");
    }

    [Theory]
    [InlineData("tq4")]
    [InlineData("tq3")]
    [InlineData("tq2")]
    [InlineData("tq4-nest")]
    public void Bytes_AreThePlainOnes_WhereInputsAreNotCorrelated(string format)
    {
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        var identity = new float[Columns * Columns];
        for (int i = 0; i < Columns; i++)
        {
            identity[i * (Columns + 1)] = 1;
        }

        float[] weights = EncodedMatrix.Gaussian(Rows * Columns, seed: 6);
        using var plain = new EncodedMatrix(descriptor, weights, Columns);
        using var unit = new EncodedMatrix(descriptor, weights, Columns, feedback: Feedback(identity, descriptor, Columns));
        using var nothing = new EncodedMatrix(descriptor, weights, Columns, feedback: Feedback(new float[Columns], descriptor, Columns));
        Assert.True(plain.Bytes.SequenceEqual(unit.Bytes));
        Assert.True(plain.Bytes.SequenceEqual(nothing.Bytes));
    }

    [Theory]
    [InlineData("tq3")]
    [InlineData("tq4-nest")]
    public void Bytes_DoNotDependOnThreads(string format)
    {
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        float[] x = Correlated(EncodedMatrix.Gaussian(Columns * Columns, seed: 2), 600, seed: 4);
        float[] weights = EncodedMatrix.Gaussian(83 * Columns, seed: 3);
        using var one = new EncodedMatrix(descriptor, weights, Columns, feedback: Feedback(x, descriptor, 128));
        using var three = new EncodedMatrix(descriptor, weights, Columns, threads: 3, pieceRows: 32, feedback: Feedback(x, descriptor, 128, threads: 3));
        Assert.True(one.Bytes.SequenceEqual(three.Bytes));
    }

    [Fact]
    public void Blocks_MustHoldWholeRotations()
    {
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find("tq4", Columns);
        Assert.Throws<ArgumentException>(() => Feedback(new float[Columns], descriptor, 64));
        Assert.Throws<ArgumentException>(() => Feedback(new float[Columns], descriptor, 384));
    }

    private static ErrorFeedback Feedback(float[] x, TurboQuantDescriptor format, int span, int threads = 1)
    {
        using var pool = new WorkerPool(threads);
        var moments = new InputMoments(Columns, Columns);
        moments.Add(x, x.Length / Columns, 1, pool);
        return new ErrorFeedback(moments, span, format, CpuKernels.Select(null), pool);
    }

    /// <summary>x = Σ_i i^−0.4·g_i·a_i, g Gaussian, a the rows of <paramref name="mixing"/>.</summary>
    private static float[] Correlated(float[] mixing, int count, int seed)
    {
        float[] g = EncodedMatrix.Gaussian(count * Columns, seed);
        var x = new float[g.Length];
        for (int token = 0; token < count; token++)
        {
            for (int i = 0; i < Columns; i++)
            {
                float factor = g[(token * Columns) + i] * MathF.Pow(i + 1, -0.4f);
                for (int column = 0; column < Columns; column++)
                {
                    x[(token * Columns) + column] += factor * mixing[(i * Columns) + column];
                }
            }
        }

        return x;
    }

    /// <summary>Σ|(W − Ŵ)x|².</summary>
    private static double OutputError(float[] weights, float[] decoded, float[] x)
    {
        double error = 0;
        for (int token = 0; token < x.Length / Columns; token++)
        {
            for (int row = 0; row < Rows; row++)
            {
                double difference = 0;
                for (int column = 0; column < Columns; column++)
                {
                    difference += (weights[(row * Columns) + column] - (double)decoded[(row * Columns) + column]) * x[(token * Columns) + column];
                }

                error += difference * difference;
            }
        }

        return error;
    }
}

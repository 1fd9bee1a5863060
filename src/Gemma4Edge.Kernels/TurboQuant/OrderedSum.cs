namespace Gemma4Edge.Kernels;

/// <summary>Sums whose result is the same on every CPU: in double precision, one after the other. What is written to a file depends on no vector width.</summary>
internal static class OrderedSum
{
    /// <summary>Σ x².</summary>
    public static double Squares(ReadOnlySpan<float> x)
    {
        double sum = 0;
        foreach (float value in x)
        {
            sum += (double)value * value;
        }

        return sum;
    }

    /// <summary>√Σ x².</summary>
    public static float Norm(ReadOnlySpan<float> x) => (float)Math.Sqrt(Squares(x));
}

using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Softmax: x[i] ← exp(x[i] − max x) / Σ_j exp(x[j] − max x).</summary>
/// <remarks>Stateless; safe on any thread.</remarks>
public static class Softmax
{
    /// <summary>Turns scores into probabilities, in place; the maximum is subtracted first, so no score overflows.</summary>
    /// <param name="x">At least one score; at least one is finite.</param>
    public static void Apply(Span<float> x)
    {
        TensorPrimitives.Subtract(x, TensorPrimitives.Max(x), x);
        TensorPrimitives.Exp(x, x);
        TensorPrimitives.Multiply(x, 1 / TensorPrimitives.Sum<float>(x), x);
    }
}

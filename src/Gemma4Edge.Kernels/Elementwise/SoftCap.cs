using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Soft limit of logits: x ← cap · tanh(x / cap).</summary>
/// <remarks>The error is below cap · 2⁻²², absolute. Stateless; safe on any thread.</remarks>
public static class SoftCap
{
    /// <summary>Limits x to (−cap, cap), in place, keeping its order.</summary>
    /// <param name="x">Logits of any length.</param>
    /// <param name="cap">Positive.</param>
    public static void Apply(Span<float> x, float cap)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cap);
        TensorPrimitives.Divide(x, cap, x);
        TensorPrimitives.Tanh(x, x);
        TensorPrimitives.Multiply(x, cap, x);
    }
}

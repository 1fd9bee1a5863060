using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>The tanh form of GELU: gelu(x) = x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))).</summary>
/// <remarks>
/// Computed as x · σ(2u) with u the argument of tanh, since (1 + tanh u)/2 = σ(2u): no cancellation for negative x, and exact limits
/// 0 and x. The relative error is below 1e-6 for |x| ≤ 3 and grows with the rounding of 2u, |2u|·2⁻²³, where gelu(x) itself vanishes.
/// Stateless; safe on any thread.
/// </remarks>
public static class Gelu
{
    /// <summary>gate[i] ← gelu(gate[i]) · up[i]: the gated feed-forward network's product.</summary>
    /// <param name="gate">(n), overwritten with the result.</param>
    /// <param name="up">(n); must not overlap gate.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void ApplyTanhAndMultiply(Span<float> gate, ReadOnlySpan<float> up)
    {
        const float Linear = 1.5957691216057308f;        // 2·√(2/π)
        const float Cubic = 0.07135481282553534f;        // 2·√(2/π)·0.044715
        const int Block = 512;                           // keeps the intermediate in L1

        Span<float> scratch = stackalloc float[Block];
        while (!gate.IsEmpty)
        {
            Span<float> x = gate[..Math.Min(Block, gate.Length)];
            Span<float> s = scratch[..x.Length];
            TensorPrimitives.Multiply(x, x, s);
            TensorPrimitives.Multiply(s, Cubic, s);
            TensorPrimitives.Add(s, Linear, s);
            TensorPrimitives.Multiply(s, x, s);          // 2u
            TensorPrimitives.Sigmoid(s, s);
            TensorPrimitives.Multiply(x, s, x);
            TensorPrimitives.Multiply(x, up[..x.Length], x);
            gate = gate[x.Length..];
            up = up[x.Length..];
        }
    }
}

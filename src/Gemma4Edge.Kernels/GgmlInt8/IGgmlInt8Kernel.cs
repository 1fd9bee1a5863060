namespace Gemma4Edge.Kernels;

/// <summary>Products of one of ggml's formats, read in place, with 8-bit activations, on one instruction set.</summary>
/// <remarks>
/// y[t, r] = Σ_b (d[r, b]·a[t, b]) · Σ_{i &lt; 32} q[r, b, i]·x[t, b, i], d and a the scales of weights and activations. The inner sums are exact
/// integers. The outer sum runs over the blocks in rising order, each step the rounded product d·a and one fused multiply-add in single precision:
/// every implementation gives the same floats, whatever the number of tokens. Scales that are no numbers read as in <see cref="HalfBits.ReadScale"/>.
/// Implementations have no state and may run on any number of threads as long as their outputs do not overlap.
/// </remarks>
internal interface IGgmlInt8Kernel : ICpuKernel
{
    /// <summary>Multiplies the rows [<paramref name="first"/>, first + <paramref name="count"/>) with every token.</summary>
    void Multiply(in GgmlProduct product, int first, int count);
}

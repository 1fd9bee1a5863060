namespace Gemma4Edge.Kernels;

/// <summary>Products of TurboQuant panels with 8-bit activations, on one instruction set. One kernel serves every panel format: bits and levels differ.</summary>
/// <remarks>
/// y[t, r] = a[t] · Σ_g s[r, g] · Σ_{c ∈ g} level(r, c) · x[t, c]. The inner sums are exact integers. The outer sum runs over the groups in
/// rising order, each step one fused multiply-add in single precision, and the product with a comes last: every implementation gives the same floats.
/// Implementations have no state and may run on any number of threads as long as their outputs do not overlap.
/// </remarks>
internal unsafe interface ITurboQuantKernel : ICpuKernel
{
    /// <summary>Every kernel, best first; the last is the scalar reference, which every CPU runs.</summary>
    static IReadOnlyList<ITurboQuantKernel> All { get; } =
        [new TurboQuantAvx2<AvxVnniDot>(), new TurboQuantAvx2<Avx2Dot>(), new TurboQuantNeonDotProd(), new TurboQuantNeon(), new TurboQuantScalar()];

    /// <summary>Multiplies the panels [<paramref name="first"/>, first + <paramref name="count"/>) with every token.</summary>
    void Multiply(in PanelProduct product, int first, int count);
}

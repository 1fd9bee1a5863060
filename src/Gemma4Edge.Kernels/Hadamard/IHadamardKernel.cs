namespace Gemma4Edge.Kernels;

/// <summary>The normalised Walsh-Hadamard transform of consecutive blocks, on one instruction set.</summary>
/// <remarks>
/// Every implementation gives the same floats: x is multiplied by 1/√B first (the single nearest to it), then come the
/// butterflies (a, b) → (a + b, a − b) of elements h apart, for h = 1, 2, 4 … B/2 in this order, each rounded once.
/// H is symmetric and orthogonal, so the transform is its own inverse up to rounding.
/// Implementations have no state and are safe on any thread.
/// </remarks>
internal unsafe interface IHadamardKernel : ICpuKernel
{
    /// <summary>The shortest block.</summary>
    const int MinBlock = 32;

    /// <summary>The longest block, a head of Gemma's full attention.</summary>
    const int MaxBlock = 512;

    /// <summary>Every kernel, best first; the last is the scalar reference, which every CPU runs.</summary>
    static IReadOnlyList<IHadamardKernel> All { get; } = [new HadamardAvx2(), new HadamardNeon(), new HadamardScalar()];

    /// <summary>x ← H_B·x for each <paramref name="block"/> of B elements, in place.</summary>
    /// <param name="x">(count) floats, no alignment needed.</param>
    /// <param name="count">A multiple of the block; 0 does nothing.</param>
    /// <param name="block">A power of two in [<see cref="MinBlock"/>, <see cref="MaxBlock"/>].</param>
    void Transform(float* x, int count, int block);
}

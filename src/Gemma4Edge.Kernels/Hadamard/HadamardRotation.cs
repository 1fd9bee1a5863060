using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>The orthogonal map y = H·(σ ⊙ x): random signs, then the normalised Hadamard transform of each block.</summary>
/// <remarks>Immutable, safe on any thread. Every instruction set gives the same floats, so the best one runs.</remarks>
internal sealed unsafe class HadamardRotation
{
    private static readonly IHadamardKernel s_kernel = IHadamardKernel.All.First(kernel => kernel.IsSupported);
    private readonly float[] _signs;
    private readonly int _block;

    /// <param name="length">Length of a vector, a multiple of <paramref name="block"/>.</param>
    /// <param name="block">A power of two that <see cref="IHadamardKernel"/> can do.</param>
    /// <param name="signSeed">Chooses σ, see <see cref="SignVector"/>.</param>
    public HadamardRotation(int length, int block, ulong signSeed)
    {
        _signs = SignVector.Shared(signSeed, length);
        _block = block;
    }

    /// <summary>Rotates vectors in place.</summary>
    /// <param name="x">(count, length), contiguous; or some blocks of one vector.</param>
    /// <param name="first">Place of x[0] in its vector.</param>
    public void Apply(Span<float> x, int first = 0)
    {
        MultiplySigns(x, first);
        Transform(x);
    }

    /// <summary>The inverse: x = σ ⊙ (H·y), in place.</summary>
    /// <param name="y">(count, length), contiguous; or some blocks of one vector.</param>
    /// <param name="first">Place of y[0] in its vector.</param>
    public void Undo(Span<float> y, int first = 0)
    {
        Transform(y);
        MultiplySigns(y, first);
    }

    private void Transform(Span<float> x)
    {
        fixed (float* start = x)
        {
            s_kernel.Transform(start, x.Length, _block);
        }
    }

    private void MultiplySigns(Span<float> x, int first)
    {
        for (; !x.IsEmpty; first = 0)
        {
            ReadOnlySpan<float> signs = _signs.AsSpan(first, Math.Min(x.Length, _signs.Length - first));
            TensorPrimitives.Multiply(x[..signs.Length], signs, x);
            x = x[signs.Length..];
        }
    }
}

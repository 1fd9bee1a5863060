using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="NeonKernel{TBlock,TScalar}"/> needs to know of a format: a block whose scales are in registers, and how to load 16 of its weights.</summary>
/// <remarks>
/// Everything is inlined into the loops: a call would spill their accumulators.
/// Formats without blocks (F32, F16, BF16) call 16 weights a block.
/// </remarks>
internal unsafe interface INeonBlock<TSelf>
    where TSelf : struct, INeonBlock<TSelf>
{
    /// <summary>Weights per block, a multiple of 16.</summary>
    static abstract int Columns { get; }

    /// <summary>Bytes per block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Reads the block's scales.</summary>
    static abstract TSelf Open(byte* block);

    /// <summary>The weights [<paramref name="column"/>, column + 16) as floats, w0 the first four; column is a multiple of 16.</summary>
    void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3);
}

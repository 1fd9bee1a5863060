using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="Avx2Kernel{TBlock,TScalar}"/> needs to know of a format: a block whose scales are in registers, and how to load 32 of its weights.</summary>
/// <remarks>
/// Everything is inlined into the loops: a call would spill their accumulators.
/// Formats without blocks (F32, F16, BF16) call 32 weights a block.
/// </remarks>
internal unsafe interface IAvx2Block<TSelf>
    where TSelf : struct, IAvx2Block<TSelf>
{
    /// <summary>Weights per block, a multiple of 32.</summary>
    static abstract int Columns { get; }

    /// <summary>Bytes per block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Reads the block's scales.</summary>
    static abstract TSelf Open(byte* block);

    /// <summary>The weights [<paramref name="column"/>, column + 32) as floats, w0 the first eight; column is a multiple of 32.</summary>
    void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3);
}

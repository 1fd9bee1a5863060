using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="TurboQuantAvx2{TDot}"/> needs to know of a number of bits: how to turn the codes of half a panel into levels.</summary>
/// <remarks>Everything is inlined into the loops: a call would spill their accumulators.</remarks>
internal unsafe interface IAvx2Codes<TSelf>
    where TSelf : struct, IAvx2Codes<TSelf>
{
    /// <summary>Bytes of 16 rows × 32 columns.</summary>
    static abstract int StepBytes { get; }

    /// <summary>What is added to every level to make it unsigned; 0 = levels stay signed.</summary>
    static abstract int Bias { get; }

    /// <summary>Puts the table of levels into registers.</summary>
    static abstract TSelf Open(in PanelProduct.LevelTable levels);

    /// <summary>The tiles of 8 rows × 4 columns at columns [<paramref name="column"/>, column + 16) of a step; column is 0 or 16.</summary>
    /// <param name="step">The step's first byte for rows 0–7, the 32nd for rows 8–15.</param>
    /// <param name="column">0 or 16.</param>
    /// <param name="t0">Columns 0–3: per row four levels, rows in the eight 32-bit lanes.</param>
    /// <param name="t1">Columns 4–7.</param>
    /// <param name="t2">Columns 8–11.</param>
    /// <param name="t3">Columns 12–15.</param>
    void Load(byte* step, int column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3);
}

using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What the NEON kernels need to know of a number of bits: how to turn the codes of a quarter of a panel into levels.</summary>
/// <remarks>Everything is inlined into the loops: a call would spill their accumulators.</remarks>
internal unsafe interface INeonCodes<TSelf>
    where TSelf : struct, INeonCodes<TSelf>
{
    /// <summary>Bytes of 16 rows × 32 columns.</summary>
    static abstract int StepBytes { get; }

    /// <summary>Products of a level and an activation that fit a sum of 16 bits: 4 at |level| ≤ 63, 2 at 127.</summary>
    static abstract int ProductsPerSum { get; }

    /// <summary>Puts the table of levels into registers.</summary>
    static abstract TSelf Open(in PanelProduct.LevelTable levels);

    /// <summary>The tiles of 4 rows × 4 columns at columns [<paramref name="column"/>, column + 16) of a step.</summary>
    /// <param name="step">The step's first byte for rows 0–3, the 16th for rows 4–7 …</param>
    /// <param name="column">0 or 16.</param>
    /// <param name="t0">Columns 0–3: per row four levels, rows in the four 32-bit lanes.</param>
    /// <param name="t1">Columns 4–7.</param>
    /// <param name="t2">Columns 8–11.</param>
    /// <param name="t3">Columns 12–15.</param>
    void Load(byte* step, int column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3);
}

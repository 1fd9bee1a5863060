using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What the NEON kernels need to know of a number of bits: how to turn codes of a panel into levels.</summary>
/// <remarks>
/// Everything is inlined into the loops: a call would spill their accumulators. A step's codes are loaded once, by one method, because the compiler would
/// keep in a register, and copy, what it sees loaded twice.
/// </remarks>
internal unsafe interface INeonCodes<TSelf>
    where TSelf : struct, INeonCodes<TSelf>
{
    /// <summary>Bytes of 16 rows × 32 columns.</summary>
    static abstract int StepBytes { get; }

    /// <summary>Products of a level and an activation that fit a sum of 16 bits: 4 at |level| ≤ 63, 2 at 127.</summary>
    static abstract int ProductsPerSum { get; }

    /// <summary>Puts the table of levels into registers.</summary>
    static abstract TSelf Open(in PanelProduct.LevelTable levels);

    /// <summary>
    /// 4 rows of a step, from its first byte for rows 0–3, from the 16th for rows 4–7 …: tile k has the columns 4k to 4k + 3, per row four levels, rows in the
    /// four 32-bit lanes.
    /// </summary>
    void Load(
        byte* step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
        out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7);

    /// <summary>2 rows of a step, as <c>Load</c> has 4, from its first byte for rows 0–1, from the 8th for rows 2–3 …</summary>
    void LoadTwoRows(
        byte* step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
        out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7);
}

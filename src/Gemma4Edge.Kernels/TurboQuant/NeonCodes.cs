using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>4 bits: each nibble looks up its level.</summary>
/// <remarks>The mask is a field because the compiler leaves a struct of one vector in memory and reloads it at every look-up.</remarks>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes4(Vector128<sbyte> table, Vector128<byte> nibble) : INeonCodes<NeonCodes4>
{
    public static int StepBytes => 256;

    public static int ProductsPerSum => 4;

    public static NeonCodes4 Open(in PanelProduct.LevelTable levels) => new(NeonCodes.Table(levels, static n => n), Vector128.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(
        byte* step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
        out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7)
    {
        Vector128<byte> a = Vector128.Load(step), b = Vector128.Load(step + 64), c = Vector128.Load(step + 128), d = Vector128.Load(step + 192);
        Vector128<byte> a0 = a & nibble, b0 = b & nibble, c0 = c & nibble, d0 = d & nibble;
        Vector128<byte> a1 = a >>> 4, b1 = b >>> 4, c1 = c >>> 4, d1 = d >>> 4;
        NeonCodes.LookUp(table, a0, a1, out t0, out t1);
        NeonCodes.LookUp(table, b0, b1, out t2, out t3);
        NeonCodes.LookUp(table, c0, c1, out t4, out t5);
        NeonCodes.LookUp(table, d0, d1, out t6, out t7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void LoadTwoRows(
        byte* step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
        out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7)
    {
        Vector64<byte> a = Vector64.Load(step), b = Vector64.Load(step + 64), c = Vector64.Load(step + 128), d = Vector64.Load(step + 192);
        Vector64<byte> a0 = a & nibble.GetLower(), b0 = b & nibble.GetLower(), c0 = c & nibble.GetLower(), d0 = d & nibble.GetLower();
        Vector64<byte> a1 = a >>> 4, b1 = b >>> 4, c1 = c >>> 4, d1 = d >>> 4;
        NeonCodes.LookUp(table, a0, a1, out t0, out t1);
        NeonCodes.LookUp(table, b0, b1, out t2, out t3);
        NeonCodes.LookUp(table, c0, c1, out t4, out t5);
        NeonCodes.LookUp(table, d0, d1, out t6, out t7);
    }
}

/// <summary>3 bits: bit 3 of a nibble belongs to another tile, so the table has every level twice; tiles 6 and 7 are collected from the bits 3 and 7 of three lines.</summary>
/// <remarks>
/// <code>
///   C           c7 ·  ·  ·  c3 ·  ·  ·
///   B >> 1      ·  b7 ·  ·  ·  b3 ·  ·     inserted at 0x44
///   A >> 2      ·  ·  a7 ·  ·  ·  a3 ·     inserted at 0x22
///   →           c7 b7 a7 ?  c3 b3 a3 ?     two nibbles of twice the code, the lowest bit anything: a table of its own
/// </code>
/// </remarks>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes3(Vector128<sbyte> table, Vector128<sbyte> collectedTable, Vector128<byte> nibble) : INeonCodes<NeonCodes3>
{
    public static int StepBytes => 192;

    public static int ProductsPerSum => 4;

    public static NeonCodes3 Open(in PanelProduct.LevelTable levels) =>
        new(NeonCodes.Table(levels, static n => n & 7), NeonCodes.Table(levels, static n => n >> 1), Vector128.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(
        byte* step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
        out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7)
    {
        Vector128<byte> a = Vector128.Load(step), b = Vector128.Load(step + 64), c = Vector128.Load(step + 128);
        Vector128<byte> a0 = a & nibble, b0 = b & nibble, c0 = c & nibble;
        Vector128<byte> a1 = a >>> 4, b1 = b >>> 4, c1 = c >>> 4;
        Vector128<byte> d = AdvSimd.BitwiseSelect(Vector128.Create((byte)0x44), b >>> 1, c);
        d = AdvSimd.BitwiseSelect(Vector128.Create((byte)0x22), a >>> 2, d);
        NeonCodes.LookUp(table, a0, a1, out t0, out t1);
        NeonCodes.LookUp(table, b0, b1, out t2, out t3);
        NeonCodes.LookUp(table, c0, c1, out t4, out t5);
        NeonCodes.LookUp(collectedTable, d & nibble, d >>> 4, out t6, out t7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void LoadTwoRows(
        byte* step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
        out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7)
    {
        Vector64<byte> a = Vector64.Load(step), b = Vector64.Load(step + 64), c = Vector64.Load(step + 128);
        Vector64<byte> a0 = a & nibble.GetLower(), b0 = b & nibble.GetLower(), c0 = c & nibble.GetLower();
        Vector64<byte> a1 = a >>> 4, b1 = b >>> 4, c1 = c >>> 4;
        Vector64<byte> d = AdvSimd.BitwiseSelect(Vector64.Create((byte)0x44), b >>> 1, c);
        d = AdvSimd.BitwiseSelect(Vector64.Create((byte)0x22), a >>> 2, d);
        NeonCodes.LookUp(table, a0, a1, out t0, out t1);
        NeonCodes.LookUp(table, b0, b1, out t2, out t3);
        NeonCodes.LookUp(table, c0, c1, out t4, out t5);
        NeonCodes.LookUp(collectedTable, d & nibble.GetLower(), d >>> 4, out t6, out t7);
    }
}

/// <summary>2 bits: a nibble holds the codes of two tiles and is looked up twice, in a table of its low half and one of its high half.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes2(Vector128<sbyte> lowTable, Vector128<sbyte> highTable, Vector128<byte> nibble) : INeonCodes<NeonCodes2>
{
    public static int StepBytes => 128;

    public static int ProductsPerSum => 4;

    public static NeonCodes2 Open(in PanelProduct.LevelTable levels) =>
        new(NeonCodes.Table(levels, static n => n & 3), NeonCodes.Table(levels, static n => n >> 2), Vector128.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(
        byte* step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
        out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7)
    {
        Vector128<byte> a = Vector128.Load(step), b = Vector128.Load(step + 64);
        Vector128<byte> a0 = a & nibble, a1 = a >>> 4, b0 = b & nibble, b1 = b >>> 4;
        NeonCodes.LookUp(lowTable, a0, a1, out t0, out t2);
        NeonCodes.LookUp(highTable, a0, a1, out t1, out t3);
        NeonCodes.LookUp(lowTable, b0, b1, out t4, out t6);
        NeonCodes.LookUp(highTable, b0, b1, out t5, out t7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void LoadTwoRows(
        byte* step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
        out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7)
    {
        Vector64<byte> a = Vector64.Load(step), b = Vector64.Load(step + 64);
        Vector64<byte> a0 = a & nibble.GetLower(), a1 = a >>> 4, b0 = b & nibble.GetLower(), b1 = b >>> 4;
        NeonCodes.LookUp(lowTable, a0, a1, out t0, out t2);
        NeonCodes.LookUp(highTable, a0, a1, out t1, out t3);
        NeonCodes.LookUp(lowTable, b0, b1, out t4, out t6);
        NeonCodes.LookUp(highTable, b0, b1, out t5, out t7);
    }
}

/// <summary>8 bits: the codes are signed levels as they stand.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes8 : INeonCodes<NeonCodes8>
{
    public static int StepBytes => 512;

    public static int ProductsPerSum => 2;

    public static NeonCodes8 Open(in PanelProduct.LevelTable levels) => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(
        byte* step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
        out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7)
    {
        t0 = Vector128.Load((sbyte*)step);
        t1 = Vector128.Load((sbyte*)step + 64);
        t2 = Vector128.Load((sbyte*)step + 128);
        t3 = Vector128.Load((sbyte*)step + 192);
        t4 = Vector128.Load((sbyte*)step + 256);
        t5 = Vector128.Load((sbyte*)step + 320);
        t6 = Vector128.Load((sbyte*)step + 384);
        t7 = Vector128.Load((sbyte*)step + 448);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void LoadTwoRows(
        byte* step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
        out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7)
    {
        t0 = Vector64.Load((sbyte*)step);
        t1 = Vector64.Load((sbyte*)step + 64);
        t2 = Vector64.Load((sbyte*)step + 128);
        t3 = Vector64.Load((sbyte*)step + 192);
        t4 = Vector64.Load((sbyte*)step + 256);
        t5 = Vector64.Load((sbyte*)step + 320);
        t6 = Vector64.Load((sbyte*)step + 384);
        t7 = Vector64.Load((sbyte*)step + 448);
    }
}

/// <summary>What the codes of all bits share.</summary>
internal static class NeonCodes
{
    /// <summary>The 16-byte table: entry n is the level of code(n).</summary>
    internal static Vector128<sbyte> Table(in PanelProduct.LevelTable levels, Func<int, int> code)
    {
        Span<sbyte> table = stackalloc sbyte[16];
        for (int n = 0; n < 16; n++)
        {
            table[n] = levels[code(n)];
        }

        return Vector128.LoadUnsafe(ref MemoryMarshal.GetReference(table));
    }

    /// <summary>The levels of two tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void LookUp(Vector128<sbyte> table, Vector128<byte> codes0, Vector128<byte> codes1, out Vector128<sbyte> t0, out Vector128<sbyte> t1)
    {
        t0 = AdvSimd.Arm64.VectorTableLookup(table, codes0.AsSByte());
        t1 = AdvSimd.Arm64.VectorTableLookup(table, codes1.AsSByte());
    }

    /// <summary>The levels of two half tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void LookUp(Vector128<sbyte> table, Vector64<byte> codes0, Vector64<byte> codes1, out Vector64<sbyte> t0, out Vector64<sbyte> t1)
    {
        t0 = AdvSimd.VectorTableLookup(table, codes0.AsSByte());
        t1 = AdvSimd.VectorTableLookup(table, codes1.AsSByte());
    }
}

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
    public void Load(byte* step, int column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3)
    {
        Vector128<byte> first = Vector128.Load(step + (column * 8));
        Vector128<byte> second = Vector128.Load(step + (column * 8) + 64);
        t0 = AdvSimd.Arm64.VectorTableLookup(table, (first & nibble).AsSByte());
        t1 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(first));
        t2 = AdvSimd.Arm64.VectorTableLookup(table, (second & nibble).AsSByte());
        t3 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(second));
    }
}

/// <summary>3 bits: bit 3 of a nibble belongs to another tile, so the table has every level twice; tiles 6 and 7 are collected from the bits 3 and 7 of three lines.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes3(Vector128<sbyte> table, Vector128<byte> nibble) : INeonCodes<NeonCodes3>
{
    public static int StepBytes => 192;

    public static int ProductsPerSum => 4;

    public static NeonCodes3 Open(in PanelProduct.LevelTable levels) => new(NeonCodes.Table(levels, static n => n & 7), Vector128.Create((byte)15));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3)
    {
        Vector128<byte> a = Vector128.Load(step), b = Vector128.Load(step + 64);
        if (column == 0)
        {
            t0 = AdvSimd.Arm64.VectorTableLookup(table, (a & nibble).AsSByte());
            t1 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(a));
            t2 = AdvSimd.Arm64.VectorTableLookup(table, (b & nibble).AsSByte());
            t3 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(b));
            return;
        }

        Vector128<byte> c = Vector128.Load(step + 128), tops = Vector128.Create((byte)0x88);
        Vector128<byte> collected = ((a & tops) >> 3) | ((b & tops) >> 2) | ((c & tops) >> 1);
        t0 = AdvSimd.Arm64.VectorTableLookup(table, (c & nibble).AsSByte());
        t1 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(c));
        t2 = AdvSimd.Arm64.VectorTableLookup(table, (collected & nibble).AsSByte());
        t3 = AdvSimd.Arm64.VectorTableLookup(table, NeonCodes.High(collected));
    }
}

/// <summary>2 bits: a nibble holds the codes of two tiles and is looked up twice, in a table of its low half and one of its high half.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct NeonCodes2(Vector128<sbyte> lowTable, Vector128<sbyte> highTable) : INeonCodes<NeonCodes2>
{
    public static int StepBytes => 128;

    public static int ProductsPerSum => 4;

    public static NeonCodes2 Open(in PanelProduct.LevelTable levels) =>
        new(NeonCodes.Table(levels, static n => n & 3), NeonCodes.Table(levels, static n => n >> 2));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3)
    {
        Vector128<byte> codes = Vector128.Load(step + (column * 4));
        Vector128<sbyte> low = NeonCodes.Low(codes), high = NeonCodes.High(codes);
        t0 = AdvSimd.Arm64.VectorTableLookup(lowTable, low);
        t1 = AdvSimd.Arm64.VectorTableLookup(highTable, low);
        t2 = AdvSimd.Arm64.VectorTableLookup(lowTable, high);
        t3 = AdvSimd.Arm64.VectorTableLookup(highTable, high);
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
    public void Load(byte* step, int column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3)
    {
        byte* tiles = step + (column * 16);
        t0 = Vector128.Load((sbyte*)(tiles));
        t1 = Vector128.Load((sbyte*)(tiles + 64));
        t2 = Vector128.Load((sbyte*)(tiles + 128));
        t3 = Vector128.Load((sbyte*)(tiles + 192));
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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<sbyte> Low(Vector128<byte> nibbles) => (nibbles & Vector128.Create((byte)15)).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<sbyte> High(Vector128<byte> nibbles) => (nibbles >>> 4).AsSByte();
}

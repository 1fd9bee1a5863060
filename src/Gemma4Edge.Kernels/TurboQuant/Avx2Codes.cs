using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>4 bits: each nibble looks up its level.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct Avx2Codes4(Vector256<byte> table) : IAvx2Codes<Avx2Codes4>
{
    public static int StepBytes => 256;

    public static int Bias => Avx2Codes.LevelBias;

    public static Avx2Codes4 Open(in PanelProduct.LevelTable levels) => new(Avx2Codes.Table(levels, static n => n));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3)
    {
        Vector256<byte> first = Vector256.Load(step + (column * 8));
        Vector256<byte> second = Vector256.Load(step + (column * 8) + 64);
        t0 = Avx2.Shuffle(table, Avx2Codes.Low(first));
        t1 = Avx2.Shuffle(table, Avx2Codes.High(first));
        t2 = Avx2.Shuffle(table, Avx2Codes.Low(second));
        t3 = Avx2.Shuffle(table, Avx2Codes.High(second));
    }
}

/// <summary>3 bits: bit 3 of a nibble belongs to another tile, so the table has every level twice; tiles 6 and 7 are collected from the bits 3 and 7 of three lines.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct Avx2Codes3(Vector256<byte> table) : IAvx2Codes<Avx2Codes3>
{
    public static int StepBytes => 192;

    public static int Bias => Avx2Codes.LevelBias;

    public static Avx2Codes3 Open(in PanelProduct.LevelTable levels) => new(Avx2Codes.Table(levels, static n => n & 7));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3)
    {
        Vector256<byte> a = Vector256.Load(step), b = Vector256.Load(step + 64);
        if (column == 0)
        {
            t0 = Avx2.Shuffle(table, Avx2Codes.Low(a));
            t1 = Avx2.Shuffle(table, Avx2Codes.High(a));
            t2 = Avx2.Shuffle(table, Avx2Codes.Low(b));
            t3 = Avx2.Shuffle(table, Avx2Codes.High(b));
            return;
        }

        Vector256<byte> c = Vector256.Load(step + 128), tops = Vector256.Create((byte)0x88);
        Vector256<byte> collected = ((a & tops).AsUInt16() >> 3).AsByte() | ((b & tops).AsUInt16() >> 2).AsByte() | ((c & tops).AsUInt16() >> 1).AsByte();
        t0 = Avx2.Shuffle(table, Avx2Codes.Low(c));
        t1 = Avx2.Shuffle(table, Avx2Codes.High(c));
        t2 = Avx2.Shuffle(table, Avx2Codes.Low(collected));
        t3 = Avx2.Shuffle(table, Avx2Codes.High(collected));
    }
}

/// <summary>2 bits: a nibble holds the codes of two tiles and is looked up twice, in a table of its low half and one of its high half.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct Avx2Codes2(Vector256<byte> lowTable, Vector256<byte> highTable) : IAvx2Codes<Avx2Codes2>
{
    public static int StepBytes => 128;

    public static int Bias => Avx2Codes.LevelBias;

    public static Avx2Codes2 Open(in PanelProduct.LevelTable levels) =>
        new(Avx2Codes.Table(levels, static n => n & 3), Avx2Codes.Table(levels, static n => n >> 2));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3)
    {
        Vector256<byte> codes = Vector256.Load(step + (column * 4));
        Vector256<byte> low = Avx2Codes.Low(codes), high = Avx2Codes.High(codes);
        t0 = Avx2.Shuffle(lowTable, low);
        t1 = Avx2.Shuffle(highTable, low);
        t2 = Avx2.Shuffle(lowTable, high);
        t3 = Avx2.Shuffle(highTable, high);
    }
}

/// <summary>8 bits: the codes are signed levels as they stand.</summary>
/// <inheritdoc cref="TurboQuantLayout"/>
internal readonly unsafe struct Avx2Codes8 : IAvx2Codes<Avx2Codes8>
{
    public static int StepBytes => 512;

    public static int Bias => 0;

    public static Avx2Codes8 Open(in PanelProduct.LevelTable levels) => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(byte* step, int column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3)
    {
        byte* tiles = step + (column * 16);
        t0 = Vector256.Load(tiles);
        t1 = Vector256.Load(tiles + 64);
        t2 = Vector256.Load(tiles + 128);
        t3 = Vector256.Load(tiles + 192);
    }
}

/// <summary>What the codes of all bits share.</summary>
internal static class Avx2Codes
{
    /// <summary>Makes levels of magnitude up to 63 unsigned.</summary>
    internal const int LevelBias = 64;

    /// <summary>The 16-byte table, biased, in both halves: entry n is the level of code(n).</summary>
    internal static Vector256<byte> Table(in PanelProduct.LevelTable levels, Func<int, int> code)
    {
        Span<byte> table = stackalloc byte[16];
        for (int n = 0; n < 16; n++)
        {
            table[n] = (byte)(levels[code(n)] + LevelBias);
        }

        Vector128<byte> half = Vector128.LoadUnsafe(ref MemoryMarshal.GetReference(table));
        return Vector256.Create(half, half);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<byte> Low(Vector256<byte> nibbles) => nibbles & Vector256.Create((byte)15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<byte> High(Vector256<byte> nibbles) => (nibbles.AsUInt16() >> 4).AsByte() & Vector256.Create((byte)15);
}

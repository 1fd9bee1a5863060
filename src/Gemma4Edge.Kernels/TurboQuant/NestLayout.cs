using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>4-bit codes in two planes: the two high bits, a 2-bit code of its own, in panels; the two low bits in rows.</summary>
/// <remarks>
/// <code>
/// upper plane   panels of <see cref="TurboQuantLayout"/> at 2 bits, one half-precision scale per row; padded to 16 rows
/// lower plane   from the next multiple of 64: rows of Columns/4 bytes, byte k has columns 4k … 4k+3 in bits 0–1, 2–3, 4–5, 6–7
/// code          4·upper + lower
/// </code>
/// Panels end at multiples of 64, so the lower plane follows the last panel at once.
/// The upper plane alone is a 2-bit matrix with the levels ±19, ±61: the means of the cells that its codes join, at 38.05 codes per σ where
/// the 16 levels have 22.32, so that its products are those of both planes times about 1.70.
/// </remarks>
internal static unsafe class NestLayout
{
    private const int UpperBits = 2;

    private const int PanelScaleBytes = TurboQuantLayout.PanelRows * sizeof(ushort);

    private static readonly sbyte[] s_upperLevels = [-61, -19, 19, 61];

    /// <summary>The upper plane's own format.</summary>
    internal static TurboQuantDescriptor Upper(TurboQuantDescriptor nest) => new()
    {
        Scheme = TurboQuantScheme.Tq,
        Layout = TurboQuantStorage.Panel16,
        Bits = UpperBits,
        Rotation = nest.Rotation,
        SignSeed = nest.SignSeed,
        Levels = s_upperLevels,
        Folded = nest.Folded,
    };

    /// <summary>Distance of two upper panels.</summary>
    internal static long PanelBytes(int columns) =>
        (TurboQuantLayout.CodeBytes(UpperBits, columns) + PanelScaleBytes + 63) / 64 * 64;

    /// <summary>Bytes of a row: its share of a panel and its lower plane.</summary>
    internal static long RowBytes(int columns) => (PanelBytes(columns) / TurboQuantLayout.PanelRows) + LowerRowBytes(columns);

    /// <summary>Bytes of a row's lower plane.</summary>
    internal static long LowerRowBytes(int columns) => columns / 4;

    /// <summary>Offset of the lower plane.</summary>
    internal static long UpperBytes(int rows, int columns) => ((long)rows + TurboQuantLayout.PanelRows - 1) / TurboQuantLayout.PanelRows * PanelBytes(columns);

    /// <summary>Bytes of both planes.</summary>
    internal static long MatrixBytes(int rows, int columns) => UpperBytes(rows, columns) + (rows * LowerRowBytes(columns));

    /// <summary>Puts panel <paramref name="panel"/> together as 4-bit codes in <see cref="TurboQuantLayout"/>, scales included.</summary>
    internal static void Join(WeightMatrix w, int panel, byte* joined)
    {
        const int Line = 64, RowBlock = 4;
        byte* upper = w.Data + (panel * PanelBytes(w.Columns));
        byte* scales = upper + TurboQuantLayout.CodeBytes(UpperBits, w.Columns);
        Buffer.MemoryCopy(scales, joined + TurboQuantLayout.CodeBytes(4, w.Columns), PanelScaleBytes, PanelScaleBytes);
        for (int block = 0; block < TurboQuantLayout.PanelRows; block += RowBlock)
        {
            // Rows that pad the last panel read the last row: their scale is zero.
            int row = (panel * TurboQuantLayout.PanelRows) + block;
            byte* row0 = LowerRow(w, row), row1 = LowerRow(w, row + 1), row2 = LowerRow(w, row + 2), row3 = LowerRow(w, row + 3);
            byte* from = upper + (block * RowBlock), to = joined + (block * RowBlock);
            for (int column = 0; column < LowerRowBytes(w.Columns); column += sizeof(uint))
            {
                Vector128<uint> low = Vector128.Create(*(uint*)(row0 + column), *(uint*)(row1 + column), *(uint*)(row2 + column), *(uint*)(row3 + column));
                (Vector128<uint> first, Vector128<uint> second) = Join(Vector128.Load((uint*)from), low);
                first.Store((uint*)to);
                second.Store((uint*)(to + Line));
                from += Line;
                to += 2 * Line;
            }
        }
    }

    /// <summary>Puts up to 16 chosen rows together as <see cref="Join(WeightMatrix, int, byte*)"/> does the rows of a panel; the last of them fills the panel up.</summary>
    internal static void Join(WeightMatrix w, ReadOnlySpan<int> rows, byte* joined)
    {
        const int Line = 64, RowBlock = 4;
        var scales = (ushort*)(joined + TurboQuantLayout.CodeBytes(4, w.Columns));
        for (int block = 0; block < TurboQuantLayout.PanelRows; block += RowBlock)
        {
            int r0 = Chosen(rows, block), r1 = Chosen(rows, block + 1), r2 = Chosen(rows, block + 2), r3 = Chosen(rows, block + 3);
            byte* upper0 = UpperRow(w, r0, out scales[block]), upper1 = UpperRow(w, r1, out scales[block + 1]);
            byte* upper2 = UpperRow(w, r2, out scales[block + 2]), upper3 = UpperRow(w, r3, out scales[block + 3]);
            byte* row0 = LowerRow(w, r0), row1 = LowerRow(w, r1), row2 = LowerRow(w, r2), row3 = LowerRow(w, r3);
            byte* to = joined + (block * RowBlock);
            for (int column = 0, line = 0; column < LowerRowBytes(w.Columns); column += sizeof(uint), line += Line)
            {
                Vector128<uint> high = Vector128.Create(*(uint*)(upper0 + line), *(uint*)(upper1 + line), *(uint*)(upper2 + line), *(uint*)(upper3 + line));
                Vector128<uint> low = Vector128.Create(*(uint*)(row0 + column), *(uint*)(row1 + column), *(uint*)(row2 + column), *(uint*)(row3 + column));
                (Vector128<uint> first, Vector128<uint> second) = Join(high, low);
                first.Store((uint*)to);
                second.Store((uint*)(to + Line));
                to += 2 * Line;
            }
        }

        static int Chosen(ReadOnlySpan<int> rows, int index) => rows[Math.Min(index, rows.Length - 1)];
    }

    /// <summary>One row, in its rotated basis.</summary>
    internal static void DecodeRow(WeightMatrix w, int row, float* destination)
    {
        ReadOnlySpan<sbyte> levels = ((TurboQuantDescriptor)w.Format).LevelSpan;
        UpperRow(w, row, out ushort halfScale);
        float scale = HalfBits.ReadScale((byte*)&halfScale);
        byte* panel = w.Data + (row / TurboQuantLayout.PanelRows * PanelBytes(w.Columns));
        byte* lower = LowerRow(w, row);
        for (int column = 0; column < w.Columns; column++)
        {
            int high = TurboQuantLayout.ReadCode(panel, UpperBits, row % TurboQuantLayout.PanelRows, column);
            int low = (lower[column / 4] >> (column % 4 * 2)) & 3;
            destination[column] = scale * levels[(4 * high) + low];
        }
    }

    /// <summary>Writes a row's scale and codes to planes whose codes were zero.</summary>
    internal static void WriteRow(TurboQuantDescriptor nest, byte* upperPlane, byte* lowerPlane, int row, float scale, ReadOnlySpan<byte> codes)
    {
        byte* panel = upperPlane + (row / TurboQuantLayout.PanelRows * PanelBytes(codes.Length));
        byte* lower = lowerPlane + (row * LowerRowBytes(codes.Length));
        int rowInPanel = row % TurboQuantLayout.PanelRows;
        TurboQuantLayout.WriteScale(Upper(nest), panel, codes.Length, rowInPanel, 0, scale);
        for (int column = 0; column < codes.Length; column++)
        {
            TurboQuantLayout.WriteCode(panel, UpperBits, rowInPanel, column, codes[column] >> 2);
            lower[column / 4] |= (byte)((codes[column] & 3) << (column % 4 * 2));
        }
    }

    /// <summary>The first four upper codes of a row (the next are 64 bytes on), and its scale.</summary>
    private static byte* UpperRow(WeightMatrix w, int row, out ushort scale)
    {
        byte* panel = w.Data + (row / TurboQuantLayout.PanelRows * PanelBytes(w.Columns));
        int rowInPanel = row % TurboQuantLayout.PanelRows;
        scale = ((ushort*)(panel + TurboQuantLayout.CodeBytes(UpperBits, w.Columns)))[rowInPanel];
        return panel + (rowInPanel * sizeof(uint));
    }

    private static byte* LowerRow(WeightMatrix w, int row) =>
        w.Data + UpperBytes(w.Rows, w.Columns) + (Math.Min(row, w.Rows - 1) * LowerRowBytes(w.Columns));

    /// <summary>16 columns of a row per lane: two lines of 4-bit codes from the planes' 32 bits each.</summary>
    /// <remarks>
    /// In an upper lane byte c has column 4k + c in its k-th pair of bits, in a lower lane byte k has it in its c-th: the lower lane is a 4 × 4 matrix of
    /// pairs to be transposed, by swapping single pairs and then blocks of 2 × 2.
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector128<uint> First, Vector128<uint> Second) Join(Vector128<uint> upper, Vector128<uint> lower)
    {
        Vector128<uint> swap = (lower ^ (lower >> 6)) & Vector128.Create(0x00CC00CCu);
        lower ^= swap ^ (swap << 6);
        swap = (lower ^ (lower >> 12)) & Vector128.Create(0x0000F0F0u);
        lower ^= swap ^ (swap << 12);

        Vector128<uint> pair0 = Vector128.Create(0x03030303u), pair1 = pair0 << 2, pair2 = pair0 << 4, pair3 = pair0 << 6;
        return ((lower & pair0) | ((upper & pair0) << 2) | ((lower & pair1) << 2) | ((upper & pair1) << 4),
            ((lower & pair2) >> 4) | ((upper & pair2) >> 2) | ((lower & pair3) >> 2) | (upper & pair3));
    }
}

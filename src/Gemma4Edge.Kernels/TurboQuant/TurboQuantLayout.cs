namespace Gemma4Edge.Kernels;

/// <summary>Panels of 16 rows: the codes in the order in which the kernels multiply them, then the scales.</summary>
/// <remarks>
/// <code>
/// panel      codes of the 16 rows, all columns; then per group of columns 16 scales (half, or single); then zeros to the next multiple of 64
/// line       64 bytes = 4 registers: rows 0–3, 4–7, 8–11, 12–15
/// register   16 bytes = 4 rows × 4 columns: r0c0 r0c1 r0c2 r0c3 r1c0 … r3c3, one byte position per code
/// tile       the codes of 16 rows × 4 columns at some bits of one line (of three lines at 3 bits)
///
/// 8 bits     a line is one tile                                           16 × 4 columns
/// 4 bits     a line is tiles 0, 1 in bits 0–3, 4–7                        16 × 8 columns
/// 2 bits     a line is tiles 0, 1, 2, 3 in bits 0–1, 2–3, 4–5, 6–7        16 × 16 columns
/// 3 bits     three lines A B C are tiles 0–7                              16 × 32 columns
///            A: tile 0 in bits 0–2, 1 in 4–6    B: 2, 3    C: 4, 5
///            tile 6 has its bits 0, 1, 2 in bit 3 of A, B, C, tile 7 in bit 7
/// </code>
/// Code 0 is the lowest level. 8-bit codes are the integers themselves. Rows that pad the last panel have zero scales.
/// </remarks>
internal static unsafe class TurboQuantLayout
{
    /// <summary>Rows of a panel.</summary>
    internal const int PanelRows = 16;

    /// <summary>Columns that are a whole number of lines at every number of bits.</summary>
    internal const int StepColumns = 32;

    private const int Line = 64;

    private const int Register = 16;

    /// <summary>Bytes of 16 rows × <see cref="StepColumns"/> columns.</summary>
    internal static int StepBytes(int bits) => PanelRows * StepColumns * bits / 8;

    /// <summary>Offset of a panel's scales.</summary>
    internal static long CodeBytes(int bits, int columns) => (long)columns / StepColumns * StepBytes(bits);

    /// <summary>Distance of two panels.</summary>
    internal static long PanelBytes(TurboQuantDescriptor format, int columns)
    {
        int scaleBytes = PanelRows * Groups(format, columns) * (format.WideScales ? sizeof(float) : sizeof(ushort));
        return (CodeBytes(format.Bits, columns) + scaleBytes + Line - 1) / Line * Line;
    }

    /// <summary>Scales per row.</summary>
    internal static int Groups(TurboQuantDescriptor format, int columns) => format.Group == 0 ? 1 : columns / format.Group;

    /// <summary>A code of a panel.</summary>
    internal static int ReadCode(byte* panel, int bits, int row, int column)
    {
        byte* at = At(panel, bits, row, column, out int shift, out int topBit);
        return bits switch
        {
            8 => *at,
            3 when topBit < 0 => (*at >> shift) & 7,
            3 => ((at[0] >> topBit) & 1) | (((at[Line] >> topBit) & 1) << 1) | (((at[2 * Line] >> topBit) & 1) << 2),
            _ => (*at >> shift) & ((1 << bits) - 1),
        };
    }

    /// <summary>Sets a code of a panel whose codes were zero.</summary>
    internal static void WriteCode(byte* panel, int bits, int row, int column, int code)
    {
        byte* at = At(panel, bits, row, column, out int shift, out int topBit);
        if (topBit < 0)
        {
            *at |= (byte)(code << shift);
            return;
        }

        at[0] |= (byte)((code & 1) << topBit);
        at[Line] |= (byte)(((code >> 1) & 1) << topBit);
        at[2 * Line] |= (byte)(((code >> 2) & 1) << topBit);
    }

    /// <summary>A row's scale of a group.</summary>
    internal static float ReadScale(TurboQuantDescriptor format, byte* panel, int columns, int row, int group)
    {
        byte* scales = panel + CodeBytes(format.Bits, columns);
        int index = (group * PanelRows) + row;
        return format.WideScales ? ((float*)scales)[index] : (float)((Half*)scales)[index];
    }

    /// <summary>Sets a row's scale of a group.</summary>
    internal static void WriteScale(TurboQuantDescriptor format, byte* panel, int columns, int row, int group, float scale)
    {
        byte* scales = panel + CodeBytes(format.Bits, columns);
        int index = (group * PanelRows) + row;
        if (format.WideScales)
        {
            ((float*)scales)[index] = scale;
        }
        else
        {
            ((Half*)scales)[index] = (Half)scale;
        }
    }

    /// <summary>One row of a panel, in its rotated basis.</summary>
    internal static void DecodeRow(TurboQuantDescriptor format, byte* panel, int row, float* destination, int columns)
    {
        int groupColumns = format.Group == 0 ? columns : format.Group;
        ReadOnlySpan<sbyte> levels = format.LevelSpan;
        for (int column = 0; column < columns; column++)
        {
            int code = ReadCode(panel, format.Bits, row, column);
            int level = levels.IsEmpty ? (sbyte)code : levels[code];
            destination[column] = ReadScale(format, panel, columns, row, column / groupColumns) * level;
        }
    }

    /// <summary>The byte a code is in and its lowest bit there; <paramref name="topBit"/> is −1 but for the 3-bit tiles that are spread over three lines.</summary>
    private static byte* At(byte* panel, int bits, int row, int column, out int shift, out int topBit)
    {
        byte* position = panel + (row / 4 * Register) + (row % 4 * 4) + (column % 4);
        int tile = column / 4;
        topBit = -1;
        if (bits == 3)
        {
            position += tile / 8 * StepBytes(3);
            tile %= 8;
            shift = 4 * (tile % 2);
            if (tile < 6)
            {
                return position + (tile / 2 * Line);
            }

            topBit = shift + 3;
            return position;
        }

        int tilesPerLine = 8 / bits;
        shift = tile % tilesPerLine * bits;
        return position + (tile / tilesPerLine * Line);
    }
}

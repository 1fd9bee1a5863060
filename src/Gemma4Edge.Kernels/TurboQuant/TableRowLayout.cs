namespace Gemma4Edge.Kernels;

/// <summary>Rows of 4-bit codes for tables that are looked up, as the per-layer embeddings: slice after slice, each with its scale.</summary>
/// <remarks>
/// <code>
/// slice of P columns:  byte 0  t   half
///                           2  P/2 bytes: byte i has column i in its low nibble, column i + P/2 in its high one
/// </code>
/// </remarks>
internal static unsafe class TableRowLayout
{
    private const int ScaleBytes = 2;

    /// <summary>Bytes of a row; the comparison formats' blocks have 4 bits a column too, and up to two scales.</summary>
    internal static long RowBytes(int columns, int slice, int scales = 1) => columns / slice * ((scales * ScaleBytes) + (slice / 2L));

    /// <summary>One row, in its rotated basis.</summary>
    internal static void DecodeRow(TurboQuantDescriptor format, byte* row, float* destination, int columns)
    {
        int half = format.Group / 2;
        float* levels = stackalloc float[16];
        for (float* end = destination + columns; destination < end; destination += 2 * half)
        {
            float scale = HalfBits.ReadScale(row);
            for (int code = 0; code < 16; code++)
            {
                levels[code] = scale * format.LevelSpan[code];
            }

            row += ScaleBytes;
            for (int i = 0; i < half; i++)
            {
                destination[i] = levels[row[i] & 15];
                destination[i + half] = levels[row[i] >> 4];
            }

            row += half;
        }
    }

    /// <summary>Writes a slice.</summary>
    internal static void WriteSlice(byte* at, float scale, ReadOnlySpan<byte> codes)
    {
        *(Half*)at = (Half)scale;
        int half = codes.Length / 2;
        for (int i = 0; i < half; i++)
        {
            at[ScaleBytes + i] = (byte)(codes[i] | (codes[i + half] << 4));
        }
    }
}

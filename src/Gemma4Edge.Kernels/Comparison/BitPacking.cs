namespace Gemma4Edge.Kernels;

/// <summary>Codes of a few bits in a row of bytes, lowest bit first.</summary>
internal static class BitPacking
{
    /// <summary>Bytes that hold so many bits.</summary>
    public static int BytesFor(int bits) => (bits + 7) / 8;

    /// <summary>Sets the bits [<paramref name="start"/>, start + <paramref name="count"/>), which must be 0, to <paramref name="code"/>.</summary>
    /// <param name="bytes">The row.</param>
    /// <param name="start">First bit.</param>
    /// <param name="count">At most 8.</param>
    /// <param name="code">Less than 2^count.</param>
    public static void Write(Span<byte> bytes, int start, int count, int code)
    {
        int shifted = code << (start % 8);
        bytes[start / 8] |= (byte)shifted;
        if ((start % 8) + count > 8)
        {
            bytes[(start / 8) + 1] |= (byte)(shifted >> 8);
        }
    }

    /// <summary>The bits [<paramref name="start"/>, start + <paramref name="count"/>).</summary>
    public static int Read(ReadOnlySpan<byte> bytes, int start, int count)
    {
        int value = bytes[start / 8];
        if ((start % 8) + count > 8)
        {
            value |= bytes[(start / 8) + 1] << 8;
        }

        return (value >> (start % 8)) & ((1 << count) - 1);
    }
}

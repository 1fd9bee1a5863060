namespace Gemma4Edge.Kernels;

/// <summary>Numbers of a few bits packed one after the other, each with its lowest bit first, into bytes filled from their lowest bit.</summary>
internal unsafe ref struct BitStream(byte* bytes)
{
    private long _position;

    /// <summary>Appends the low <paramref name="bits"/> of <paramref name="value"/> to bytes that were zero.</summary>
    public void Write(int value, int bits)
    {
        for (int bit = 0; bit < bits; bit++, _position++)
        {
            bytes[_position / 8] |= (byte)(((value >> bit) & 1) << (int)(_position % 8));
        }
    }

    /// <summary>The next number of <paramref name="bits"/>.</summary>
    public int Read(int bits)
    {
        int value = 0;
        for (int bit = 0; bit < bits; bit++, _position++)
        {
            value |= ((bytes[_position / 8] >> (int)(_position % 8)) & 1) << bit;
        }

        return value;
    }
}

namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q5_KLayout"/>
internal readonly unsafe struct Q5_KScalar : IScalarBlock
{
    public static int Columns => Q5_KLayout.Columns;

    public static int Bytes => Q5_KLayout.Bytes;

    public static void Decode(byte* block, float* destination)
    {
        var scales = new KScales(block);
        byte* high = block + Q5_KLayout.High;
        for (int group = 0; group < 8; group++)
        {
            float scale = scales.Scale(group), minimum = scales.Minimum(group);
            byte* q = block + Q5_KLayout.Quants + (group / 2 * 32);
            int shift = group % 2 * 4;
            for (int i = 0; i < 32; i++)
            {
                int value = ((q[i] >> shift) & 15) | (((high[i] >> group) & 1) << 4);
                *destination++ = (scale * value) - minimum;
            }
        }
    }
}

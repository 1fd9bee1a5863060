namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q4_KLayout"/>
internal readonly unsafe struct Q4_KScalar : IScalarBlock
{
    public static int Columns => Q4_KLayout.Columns;

    public static int Bytes => Q4_KLayout.Bytes;

    public static void Decode(byte* block, float* destination)
    {
        var scales = new KScales(block);
        for (int group = 0; group < 8; group++)
        {
            float scale = scales.Scale(group), minimum = scales.Minimum(group);
            byte* q = block + Q4_KLayout.Quants + (group / 2 * 32);
            int shift = group % 2 * 4;
            for (int i = 0; i < 32; i++)
            {
                *destination++ = (scale * ((q[i] >> shift) & 15)) - minimum;
            }
        }
    }
}

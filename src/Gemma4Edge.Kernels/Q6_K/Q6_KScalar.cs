namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q6_KLayout"/>
internal readonly unsafe struct Q6_KScalar : IScalarBlock
{
    public static int Columns => Q6_KLayout.Columns;

    public static int Bytes => Q6_KLayout.Bytes;

    public static void Decode(byte* block, float* destination)
    {
        float d = Q6_KLayout.Scale(block);
        sbyte* scales = (sbyte*)block + Q6_KLayout.Scales;
        for (int column = 0; column < Q6_KLayout.Columns; column++)
        {
            int half = column / 128, quarter = column / 32 % 4, i = column % 32;
            int low = (block[(64 * half) + (quarter % 2 * 32) + i] >> (quarter / 2 * 4)) & 15;
            int high = (block[Q6_KLayout.High + (32 * half) + i] >> (2 * quarter)) & 3;
            destination[column] = d * scales[column / 16] * ((low | (high << 4)) - 32);
        }
    }
}

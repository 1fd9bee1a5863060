namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Scalar : IScalarBlock
{
    public static int Columns => Q4_0Layout.Columns;

    public static int Bytes => Q4_0Layout.Bytes;

    public static void Decode(byte* block, float* destination)
    {
        float d = Q4_0Layout.Scale(block);
        byte* q = block + Q4_0Layout.Quants;
        for (int j = 0; j < 16; j++)
        {
            destination[j] = d * ((q[j] & 15) - 8);
            destination[j + 16] = d * ((q[j] >> 4) - 8);
        }
    }
}

namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Scalar : IScalarBlock, IScalarInt8Block
{
    public static int Columns => Q4_0Layout.Columns;

    public static int Bytes => Q4_0Layout.Bytes;

    public static float Scale(byte* block) => Q4_0Layout.Scale(block);

    public static int Quant(byte* block, int i)
    {
        byte pair = block[Q4_0Layout.Quants + (i % 16)];
        return (i < 16 ? pair & 15 : pair >> 4) - 8;
    }

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

namespace Gemma4Edge.Kernels;

/// <inheritdoc cref="Q8_0Layout"/>
internal readonly unsafe struct Q8_0Scalar : IScalarBlock, IScalarInt8Block
{
    public static int Columns => Q8_0Layout.Columns;

    public static int Bytes => Q8_0Layout.Bytes;

    public static float Scale(byte* block) => Q8_0Layout.Scale(block);

    public static int Quant(byte* block, int i) => ((sbyte*)block)[Q8_0Layout.Quants + i];

    public static void Decode(byte* block, float* destination)
    {
        float d = Q8_0Layout.Scale(block);
        sbyte* q = (sbyte*)block + Q8_0Layout.Quants;
        for (int i = 0; i < Q8_0Layout.Columns; i++)
        {
            destination[i] = d * q[i];
        }
    }
}

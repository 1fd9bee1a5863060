using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Seeded weights in any format: random codes with scales of a sensible size, in unaligned native memory.</summary>
internal sealed unsafe class RandomWeights : IDisposable
{
    private readonly byte* _memory;

    /// <param name="scaleExponent">Every scale is about 2 to this power.</param>
    public RandomWeights(QuantFormat format, int rows, int columns, int seed, int scaleExponent = -5)
    {
        long bytes = rows * format.RowBytes(columns);
        _memory = (byte*)System.Runtime.InteropServices.NativeMemory.Alloc((nuint)bytes + 1);
        byte* data = _memory + 1;
        var random = new Random(seed);
        random.NextBytes(new Span<byte>(data, checked((int)bytes)));
        for (byte* block = data; block < data + bytes; block += format.BlockBytes)
        {
            WriteFloats(format.Name, block, random, scaleExponent);
        }

        Matrix = new WeightMatrix(format, data, rows, columns);
    }

    public WeightMatrix Matrix { get; }

    public static float[] Floats(int count, int seed, float size = 1)
    {
        var random = new Random(seed);
        var floats = new float[count];
        for (int i = 0; i < count; i++)
        {
            floats[i] = ((float)random.NextDouble() - 0.5f) * 2 * size;
        }

        return floats;
    }

    public void Dispose() => System.Runtime.InteropServices.NativeMemory.Free(_memory);

    private static void WriteFloats(string format, byte* block, Random random, int exponent)
    {
        float value = (float)Math.ScaleB((random.NextDouble() + 0.5) * (random.Next(2) == 0 ? 1 : -1), exponent);
        switch (format)
        {
            case "f32":
                *(float*)block = value;
                break;
            case "bf16":
                *(ushort*)block = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
                break;
            case "q4_k" or "q5_k":
                *(Half*)block = (Half)(value / 32);
                *(Half*)(block + 2) = (Half)(value / 8);
                break;
            case "q6_k":
                *(Half*)(block + 208) = (Half)(value / 64);
                break;
            default:
                *(Half*)block = (Half)value;
                break;
        }
    }
}

using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class GgmlEncoderTests
{
    [Fact]
    public void Q8_0_IsWithinHalfAStep()
    {
        float[] row = Gaussian(256);
        byte[] bytes = Encode(QuantFormats.Q8_0, row);
        for (int i = 0; i < row.Length; i++)
        {
            Span<byte> block = bytes.AsSpan(i / 32 * 34, 34);
            float scale = (float)MemoryMarshal.Read<Half>(block);
            float decoded = scale * (sbyte)block[2 + (i % 32)];
            Assert.True(MathF.Abs(decoded - row[i]) <= (0.5f * scale) + (127 * scale / 1024), $"{i}: {row[i]} became {decoded}");
        }
    }

    [Fact]
    public void Q4_0_IsWithinAStep_AndKeepsTheLargest()
    {
        float[] row = Gaussian(256);
        byte[] bytes = Encode(QuantFormats.Q4_0, row);
        for (int i = 0; i < row.Length; i++)
        {
            Span<byte> block = bytes.AsSpan(i / 32 * 18, 18);
            float scale = (float)MemoryMarshal.Read<Half>(block);
            int quant = i % 32 < 16 ? block[2 + (i % 16)] & 15 : block[2 + (i % 16)] >> 4;
            float decoded = scale * (quant - 8);
            bool largest = MathF.Abs(row[i]) == row[(i / 32 * 32)..((i / 32 * 32) + 32)].Max(MathF.Abs);
            float step = MathF.Abs(scale);
            Assert.True(MathF.Abs(decoded - row[i]) <= (largest ? 0.01f : 1.01f) * step, $"{i}: {row[i]} became {decoded}");
        }
    }

    [Fact]
    public void Plain_RoundsToNearest()
    {
        Assert.Equal([0x80, 0x3f, 0x80, 0x3f, 0x82, 0x3f], Encode(QuantFormats.BF16, [1, 1 + (1 / 256f), 1 + (3 / 256f)])); // halves to even
        Assert.Equal([0x00, 0x3c], Encode(QuantFormats.F16, [1]));
        Assert.Equal([0x00, 0x00, 0x80, 0x3f], Encode(QuantFormats.F32, [1]));
    }

    [Fact]
    public void Encode_MakesZerosOfZeros()
    {
        Assert.All(Encode(QuantFormats.Q8_0, new float[32]), value => Assert.Equal(0, value));
        Assert.All(Encode(QuantFormats.Q4_0, new float[32])[2..], value => Assert.Equal(0x88, value));
    }

    [Fact]
    public void Encode_RefusesOtherFormats() => Assert.Throws<ArgumentException>(() => Encode(QuantFormats.Q6_K, new float[256]));

    private static byte[] Encode(QuantFormat format, float[] row)
    {
        var bytes = new byte[format.RowBytes(row.Length)];
        GgmlEncoder.Encode(format, row, bytes);
        return bytes;
    }

    private static float[] Gaussian(int count)
    {
        var random = new Random(5);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(Math.Tau * random.NextDouble())))];
    }
}

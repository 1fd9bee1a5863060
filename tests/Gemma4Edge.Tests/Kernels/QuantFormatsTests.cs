using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>The layouts, by blocks whose weights were worked out by hand, and by a second decoder that reads them weight by weight.</summary>
public sealed unsafe class QuantFormatsTests
{
    [Theory]
    [InlineData("f32", 0, 1, 4)]
    [InlineData("f16", 1, 1, 2)]
    [InlineData("bf16", 30, 1, 2)]
    [InlineData("q8_0", 8, 32, 34)]
    [InlineData("q4_0", 2, 32, 18)]
    [InlineData("q4_k", 12, 256, 144)]
    [InlineData("q5_k", 13, 256, 176)]
    [InlineData("q6_k", 14, 256, 210)]
    public void Table_HasTheFormat(string name, int ggmlType, int columns, int bytes)
    {
        Assert.True(QuantFormats.TryFromName(name, out QuantFormat? byName));
        Assert.True(QuantFormats.TryFromGgmlType(ggmlType, out QuantFormat? byType));
        Assert.Same(byName, byType);
        Assert.Equal((columns, bytes), (byName.BlockColumns, byName.BlockBytes));
        Assert.Equal("scalar", byName.Kernels[^1].Name);
    }

    [Fact]
    public void Table_SaysSo_WhenAFormatIsUnknown()
    {
        Assert.False(QuantFormats.TryFromName("q3_k", out _));
        Assert.False(QuantFormats.TryFromGgmlType(3, out _));
    }

    [Fact]
    public void Q8_0_DecodesAKnownBlock()
    {
        float[] w = Decode(QuantFormats.Q8_0, (0, 0x00), (1, 0x38), (2, 0xFF), (33, 127));      // d = 0.5
        Assert.Equal((-0.5f, 63.5f, 0f), (w[0], w[31], w[5]));
    }

    [Fact]
    public void Q4_0_DecodesAKnownBlock()
    {
        float[] w = Decode(QuantFormats.Q4_0, (0, 0x00), (1, 0xC0), (2, 0xF3), (17, 0x80));     // d = -2
        Assert.Equal((10f, -14f, 16f, 0f), (w[0], w[16], w[15], w[31]));
    }

    [Fact]
    public void Q4_K_DecodesAKnownBlock()
    {
        // d = 2, dmin = 0.5; group 0: scale 3, min 10; group 5: scale 7 | 2 << 4 = 39, min 5 | 1 << 4 = 21.
        float[] w = Decode(QuantFormats.Q4_K, (1, 0x40), (3, 0x38), (4, 3), (8, 10), (13, 0x57), (5, 0x80), (9, 0x40), (16, 0x09), (16 + 95, 0xF0));
        Assert.Equal((2 * 3 * 9) - 5f, w[0]);
        Assert.Equal((2 * 39 * 15) - 10.5f, w[(5 * 32) + 31]);
        Assert.Equal(-5f, w[1]);
    }

    [Fact]
    public void Q5_K_DecodesAKnownBlock()
    {
        float[] w = Decode(QuantFormats.Q5_K, (1, 0x40), (3, 0x38), (4, 3), (8, 10), (13, 0x57), (5, 0x80), (9, 0x40), (16, 0x01), (16 + 31, 0x20), (48, 0x09), (48 + 95, 0xF0));
        Assert.Equal((2 * 3 * 25) - 5f, w[0]);
        Assert.Equal((2 * 39 * 31) - 10.5f, w[(5 * 32) + 31]);
        Assert.Equal(-5f, w[1]);
    }

    [Fact]
    public void Q6_K_DecodesAKnownBlock()
    {
        // d = 0.5; weight 200 = half 1, quarter 2, i 8: low 13, high 2, scale[12] = -7; weight 0: q = 0, scale[0] = 1.
        float[] w = Decode(QuantFormats.Q6_K, (209, 0x38), (72, 0xD0), (128 + 40, 0x20), (192 + 12, 0xF9), (192, 1));
        Assert.Equal(0.5f * -7 * (45 - 32), w[200]);
        Assert.Equal(-16f, w[0]);
    }

    [Theory]
    [InlineData("q4_k")]
    [InlineData("q5_k")]
    [InlineData("q6_k")]
    public void SuperBlocks_DecodeAsDescribed_OnRandomBlocks(string format)
    {
        Assert.True(QuantFormats.TryFromName(format, out QuantFormat? f));
        for (int seed = 0; seed < 20; seed++)
        {
            using var weights = new RandomWeights(f, 1, 256, seed);
            byte[] block = new ReadOnlySpan<byte>(weights.Matrix.Data, f.BlockBytes).ToArray();
            var decoded = new float[256];
            fixed (float* start = decoded)
            {
                f.Kernels[^1].Decode(weights.Matrix.Data, start, 256);
            }

            for (int i = 0; i < 256; i++)
            {
                double expected = format == "q6_k" ? SixBits(block, i) : FourOrFiveBits(block, i, fiveBits: format == "q5_k");
                Assert.Equal((float)expected, decoded[i]);
            }
        }
    }

    /// <summary>The 12 scale bytes as one number of 96 bits, fields picked out by their bit positions.</summary>
    private static double FourOrFiveBits(byte[] block, int weight, bool fiveBits)
    {
        UInt128 packed = 0;
        for (int i = 11; i >= 0; i--)
        {
            packed = (packed << 8) | block[4 + i];
        }

        int Field(int firstBit, int bits) => (int)((ulong)(packed >> firstBit) & ((1UL << bits) - 1));
        int group = weight / 32, i32 = weight % 32, g = group % 4;
        int scale = group < 4 ? Field(8 * g, 6) : Field(64 + (8 * g), 4) + (16 * Field((8 * g) + 6, 2));
        int minimum = group < 4 ? Field(32 + (8 * g), 6) : Field(68 + (8 * g), 4) + (16 * Field(38 + (8 * g), 2));
        int pair = block[(fiveBits ? 48 : 16) + (32 * (group / 2)) + i32];
        int q = group % 2 == 0 ? pair % 16 : pair / 16;
        if (fiveBits && (block[16 + i32] & (1 << group)) != 0)
        {
            q += 16;
        }

        return (HalfAt(block, 0) * scale * q) - (HalfAt(block, 2) * minimum);
    }

    private static double SixBits(byte[] block, int weight)
    {
        // Within a half of 128: weights 0…63 use the low nibbles of its 64 bytes in order, weights 64…127 the high ones.
        int half = weight / 128, within = weight % 128;
        int nibbles = block[(64 * half) + (within % 64)];
        int low = within < 64 ? nibbles % 16 : nibbles / 16;
        int high = block[128 + (32 * half) + (within % 32)] / (1 << (2 * (within / 32))) % 4;
        return HalfAt(block, 208) * (sbyte)block[192 + (weight / 16)] * (low + (16 * high) - 32);
    }

    private static double HalfAt(byte[] block, int offset) => (double)BitConverter.ToHalf(block, offset);

    /// <summary>Decodes one block of zeros with some bytes set.</summary>
    private static float[] Decode(QuantFormat format, params (int Offset, byte Value)[] bytes)
    {
        var block = new byte[format.BlockBytes];
        foreach ((int offset, byte value) in bytes)
        {
            block[offset] = value;
        }

        var weights = new float[format.BlockColumns];
        fixed (byte* source = block)
        fixed (float* destination = weights)
        {
            format.Kernels[^1].Decode(source, destination, format.BlockColumns);
        }

        return weights;
    }
}

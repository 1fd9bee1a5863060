using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>What coding costs on white Gaussian rows, against the figures of an independent implementation, and what the bytes decode to.</summary>
public sealed unsafe class TurboQuantEncoderTests
{
    private const int Columns = 1536;

    public static TheoryData<string> Formats() => [.. TurboQuantFormats.All.Select(row => row.Name)];

    [Theory]
    [InlineData("tq4", 7.89e-3)]
    [InlineData("tq3", 31.6e-3)]
    [InlineData("tq2", 113.8e-3)]
    [InlineData("polar4", 9.12e-3)]
    [InlineData("prod4", 19.06e-3)]
    [InlineData("tq4-nest", 9.24e-3)]
    [InlineData("tq4-rows", 7.89e-3)]
    public void Distortion_IsThatOfTheReference_OnGaussianRows(string format, double expected)
    {
        TurboQuantDescriptor descriptor = Find(format, Columns);
        using var matrix = new EncodedMatrix(descriptor, EncodedMatrix.Gaussian(192 * Columns, seed: 1), Columns);
        Assert.InRange(matrix.RelativeError, expected * 0.98, expected * 1.02);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Decode_GivesTheWeightsBack_UpToTheReportedError(string format)
    {
        foreach (int columns in (int[])[32, 64, 96, 256])
        {
            TurboQuantDescriptor descriptor = Find(format, columns);
            float[] weights = EncodedMatrix.WeightsFor(descriptor, 19 * columns, columns);
            using var matrix = new EncodedMatrix(descriptor, weights, columns);
            double error = RelativeError(weights, matrix.Decode());
            Assert.Equal(matrix.RelativeError, error, 1e-6);
            Assert.InRange(error, 0, descriptor.Bits == 2 ? 0.15 : 0.05);
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Bytes_DoNotDependOnPiecesAndThreads(string format)
    {
        TurboQuantDescriptor descriptor = Find(format, 96);
        float[] weights = EncodedMatrix.WeightsFor(descriptor, 83 * 96, seed: 3);
        using var whole = new EncodedMatrix(descriptor, weights, 96);
        using var pieces = new EncodedMatrix(descriptor, weights, 96, threads: 3, pieceRows: 32);
        Assert.True(whole.Bytes.SequenceEqual(pieces.Bytes));
        Assert.Equal(whole.RelativeError, pieces.RelativeError, 1e-12);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Zeros_StayZeros(string format)
    {
        TurboQuantDescriptor descriptor = Find(format, 96);
        using var matrix = new EncodedMatrix(descriptor, new float[18 * 96], 96);
        Assert.Equal(0, matrix.RelativeError);
        Assert.All(matrix.Decode(), value => Assert.Equal(0, value));
    }

    /// <summary>Kernels keep a row, or a panel of it, on their stacks: those of the pool's threads are the smaller ones.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public void LongestRows_CanBeMultiplied(string format)
    {
        const int Longest = TurboQuantDescriptor.MaxColumns;
        TurboQuantDescriptor descriptor = Find(format, Longest);
        using var matrix = new EncodedMatrix(descriptor, EncodedMatrix.WeightsFor(descriptor, 17 * Longest, seed: 6), Longest);
        using var pool = new WorkerPool(2);
        float[] x = EncodedMatrix.Gaussian(2 * Longest, seed: 7);
        var y = new float[2 * 17];
        new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto).Multiply(matrix.Matrix, x, y, 2);
        Assert.All(y, value => Assert.True(float.IsFinite(value) && value != 0));
    }

    [Fact]
    public void Diagonal_IsUndoneByTheDecoder()
    {
        float[] weights = EncodedMatrix.Gaussian(16 * 128, seed: 4);
        float[] diagonal = RandomWeights.Floats(128, seed: 5);
        for (int i = 0; i < diagonal.Length; i++)
        {
            diagonal[i] = 1.5f + diagonal[i];
        }

        using var matrix = new EncodedMatrix(Find("tq4", 128), weights, 128, diagonal);
        Assert.InRange(RelativeError(weights, matrix.Decode()), 0.001, 0.02);
    }

    [Fact]
    public void Panel4_IsLaidOutAsDocumented()
    {
        // Row 5, columns 0–15: levels −8 … 7 with scale 1; the other rows are zero.
        var weights = new float[16 * 32];
        for (int i = 0; i < 16; i++)
        {
            weights[(5 * 32) + i] = i - 8;
        }

        using var matrix = new EncodedMatrix(Find("lat4-g32", 32), weights, 32);
        ReadOnlySpan<byte> bytes = matrix.Bytes;
        Assert.Equal(320, bytes.Length);                                 // 256 of codes, 32 of scales, up to a multiple of 64
        int register = 16 + 4;                                           // rows 4–7, the second of them
        Assert.Equal("40516273", Convert.ToHexString(bytes.Slice(register, 4)));        // columns 0–3 low, 4–7 high
        Assert.Equal("C8D9EAFB", Convert.ToHexString(bytes.Slice(64 + register, 4)));   // columns 8–11, 12–15
        Assert.Equal("88888888", Convert.ToHexString(bytes.Slice(128 + register, 4)));  // zeros are code 8
        Assert.Equal("0000003C0000", Convert.ToHexString(bytes.Slice(256 + 8, 6)));     // rows 4, 5, 6
        Assert.Equal(-1, bytes[288..].IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void Panel2_IsLaidOutAsDocumented()
    {
        // Row 9: columns 4k + c hold level c − 2 where k is even, else 1 − c.
        var weights = new float[16 * 32];
        for (int i = 0; i < 16; i++)
        {
            weights[(9 * 32) + i] = i / 4 % 2 == 0 ? (i % 4) - 2 : 1 - (i % 4);
        }

        using var matrix = new EncodedMatrix(Find("lat2-row", 32), weights, 32);
        ReadOnlySpan<byte> bytes = matrix.Bytes;
        Assert.Equal(192, bytes.Length);
        Assert.Equal("CC996633", Convert.ToHexString(bytes.Slice(32 + 4, 4)));          // codes 0 3 0 3, 1 2 1 2, 2 1 2 1, 3 0 3 0 from the low bits
        Assert.Equal("AAAAAAAA", Convert.ToHexString(bytes.Slice(64 + 32 + 4, 4)));     // zeros are code 2
        Assert.Equal("0000003C0000", Convert.ToHexString(bytes.Slice(128 + 16, 6)));    // rows 8, 9, 10
    }

    [Fact]
    public void Panel3_IsLaidOutAsDocumented()
    {
        byte* panel = stackalloc byte[192];
        new Span<byte>(panel, 192).Clear();
        for (int tile = 0; tile < 8; tile++)
        {
            TurboQuantLayout.WriteCode(panel, 3, 14, (4 * tile) + 1, 7 - tile);
        }

        // Register of rows 12–15, row 14, column 1. A: tile 0 = 7, 1 = 6; B: 2 = 5, 3 = 4; C: 4 = 3, 5 = 2. Tile 6 = 1 sets bit 3 of A; tile 7 = 0.
        int position = 48 + 8 + 1;
        Assert.Equal(0x6F, panel[position]);
        Assert.Equal(0x45, panel[64 + position]);
        Assert.Equal(0x23, panel[128 + position]);
        TurboQuantLayout.WriteCode(panel, 3, 14, 29, 6);                 // tile 7: bits 1 and 2, in bit 7 of B and C
        Assert.Equal((0x6F, 0xC5, 0xA3), (panel[position], panel[64 + position], panel[128 + position]));
        Assert.Equal(6, TurboQuantLayout.ReadCode(panel, 3, 14, 29));
    }

    [Fact]
    public void Nest_IsLaidOutAsDocumented()
    {
        // Row 1 of two: codes 0, 5, 10, 15, 4, 9 …: upper bits 0123 1230 2301 3012, lower bits 0123 four times; scale 1.
        byte[] codes = [.. Enumerable.Range(0, 32).Select(i => (byte)(5 * i % 16))];
        Assert.Equal(192 + (2 * 8), NestLayout.MatrixBytes(2, 32));       // one panel of 128 + 32 → 192, lower rows of 8
        byte* upper = stackalloc byte[192];
        byte* lower = stackalloc byte[16];
        new Span<byte>(upper, 192).Clear();
        new Span<byte>(lower, 16).Clear();
        NestLayout.WriteRow(Find("tq4-nest", 32), upper, lower, 1, 1, codes);
        Assert.Equal("00000000E4394E9300000000", Convert.ToHexString(new ReadOnlySpan<byte>(upper, 12)));   // columns 4k + c in byte c
        Assert.Equal("0000003C0000", Convert.ToHexString(new ReadOnlySpan<byte>(upper + 128, 6)));
        Assert.Equal("0000000000000000E4E4E4E4E4E4E4E4", Convert.ToHexString(new ReadOnlySpan<byte>(lower, 16)));
    }

    [Fact]
    public void TableRow_IsLaidOutAsDocumented()
    {
        byte* slice = stackalloc byte[18];
        TableRowLayout.WriteSlice(slice, 1, [.. Enumerable.Range(0, 16).Select(i => (byte)i), .. Enumerable.Range(0, 16).Select(i => (byte)(15 - i))]);
        Assert.Equal("003C" + "F0E1D2C3B4A5968778695A4B3C2D1E0F", Convert.ToHexString(new ReadOnlySpan<byte>(slice, 18)));
        Assert.Equal(2 * 18, TableRowLayout.RowBytes(64, 32));
    }

    internal static TurboQuantDescriptor Find(string name, int columns) => TurboQuantFormats.All.First(row => row.Name == name).For(columns, 7);

    private static double RelativeError(float[] expected, float[] actual)
    {
        double error = 0, energy = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            error += Math.Pow(expected[i] - actual[i], 2);
            energy += Math.Pow(expected[i], 2);
        }

        return error / energy;
    }
}

using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>The bytes of every TurboQuant format, and the floats they decode to, are these on every CPU: x64 and arm64 run this class.</summary>
public sealed class EncodedBytesTests
{
    private const int Columns = 384;

    [Theory]
    [InlineData("tq4", "252700B9DA45ABA8")]
    [InlineData("tq3", "CA9592B41764F16C")]
    [InlineData("tq2", "F85D5F3351D60979")]
    [InlineData("lat4-g32", "DF5CA64243C70819")]
    [InlineData("lat4-row", "E192BB90D054EB80")]
    [InlineData("lat2-row", "C3A66C10E54D12C5")]
    [InlineData("q8", "2B728DF082D0AFDB")]
    [InlineData("tq4-nest", "68A1EAC6A6461227")]
    [InlineData("tq4-rows", "BC3E964EA70C55E9")]
    [InlineData("polar4", "55690B9239FD517E")]
    [InlineData("prod4", "23A39BABF28760DC")]
    public void Weights_AreTheSame_OnEveryCpu(string format, string expected)
    {
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        float[] weights = descriptor.Scheme == TurboQuantScheme.Lattice ? Lattice(descriptor) : BellShaped(37 * Columns);
        using var matrix = new EncodedMatrix(descriptor, weights, Columns);
        Assert.Equal(expected, Hash(matrix.Bytes, matrix.Decode()));
    }

    [Theory]
    [InlineData(KvFormat.Kv8, "677C70620C356B38")]
    [InlineData(KvFormat.Tq4, "D5D5558A95A02718")]
    [InlineData(KvFormat.Polar4, "D7CD663DA77E72CB")]
    [InlineData(KvFormat.Prod4, "D8280A30E7B745A3")]
    public void KeysAndValues_AreTheSame_OnEveryCpu(KvFormat format, string expected)
    {
        const int HeadDim = 256, Vectors = 40;
        KvPlane plane = KvPlane.Create(format, new KvPlaneShape(1, HeadDim, SignSeed: 11, MaxChunk: 1), Vectors);
        float[] vectors = BellShaped(Vectors * HeadDim), read = new float[vectors.Length];
        for (int i = 0; i < Vectors; i++)
        {
            plane.Write(i, vectors.AsSpan(i * HeadDim, HeadDim));
            plane.Read(i, 0, i, read.AsSpan(i * HeadDim, HeadDim));
        }

        Assert.Equal(expected, Hash([], read));
    }

    private static string Hash(ReadOnlySpan<byte> bytes, float[] decoded) =>
        Convert.ToHexString(SHA256.HashData([.. bytes, .. MemoryMarshal.AsBytes<float>(decoded)]))[..16];

    /// <summary>Sums of integers, so that no function of the system's library has a say in the input; some are zero and some far out.</summary>
    private static float[] BellShaped(int count)
    {
        var random = new Random(31);
        return [.. Enumerable.Range(0, count).Select(i => i % 1000 == 0 ? 40f * (i % 3) : (random.Next(4096) + random.Next(4096) + random.Next(4096) - 6141) / 2048f)];
    }

    private static float[] Lattice(TurboQuantDescriptor descriptor)
    {
        var random = new Random(32);
        return [.. Enumerable.Range(0, 37 * Columns).Select(i => descriptor.Levels[random.Next(descriptor.Levels.Count)] * (1 + (i / Columns)) / 512f)];
    }
}

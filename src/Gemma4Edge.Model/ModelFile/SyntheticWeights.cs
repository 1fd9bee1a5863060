using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Seeded random weights of variance 1/columns, made once per row length and then repeated.</summary>
/// <remarks>
/// A pool is a prime number of blocks, more than any vocabulary has rows: the rows of a matrix start at different places of the pool,
/// so no two are equal, and a matrix of gigabytes costs no more than a copy.
/// </remarks>
internal sealed class SyntheticWeights(QuantFormat format, int seed)
{
    /// <summary>Weights in a block of a pool: one block of the quantized formats, 32 values of the plain one.</summary>
    public const int BlockColumns = 32;

    private const int PoolBlocks = 262_147; // the smallest prime above 2^18
    private const int ChunkBytes = 8 << 20;

    private readonly Dictionary<int, byte[]> _pools = [];
    private readonly Random _random = new(seed);

    /// <summary>The formats it can make.</summary>
    public static IReadOnlyList<QuantFormat> Formats { get; } = [QuantFormats.BF16, QuantFormats.Q8_0, QuantFormats.Q4_0];

    /// <summary>Writes a matrix with rows of <paramref name="columns"/> weights.</summary>
    /// <param name="file">Where to.</param>
    /// <param name="bytes">Size of the matrix.</param>
    /// <param name="columns">A multiple of <see cref="BlockColumns"/>.</param>
    /// <param name="written">Told the bytes after each chunk; may throw to stop.</param>
    public void WriteMatrix(Stream file, long bytes, int columns, Action<int> written)
    {
        byte[] pool = Pool(columns);
        int blockBytes = pool.Length / PoolBlocks;
        int at = _random.Next(PoolBlocks) * blockBytes;
        for (long left = bytes; left > 0;)
        {
            int chunk = (int)Math.Min(Math.Min(ChunkBytes, pool.Length - at), left);
            file.Write(pool, at, chunk);
            written(chunk);
            left -= chunk;
            at = (at + chunk) % pool.Length;
        }
    }

    /// <summary>Writes <paramref name="length"/> floats from 0.9 to 1.1: a norm.</summary>
    public void WriteNearOne(Stream file, int length)
    {
        var values = new float[length];
        for (int i = 0; i < length; i++)
        {
            values[i] = 0.9f + (0.2f * _random.NextSingle());
        }

        file.Write(MemoryMarshal.AsBytes<float>(values));
    }

    private byte[] Pool(int columns)
    {
        if (!_pools.TryGetValue(columns, out byte[]? pool))
        {
            pool = new byte[PoolBlocks * (int)format.RowBytes(BlockColumns)];
            _random.NextBytes(pool);
            float deviation = 1 / MathF.Sqrt(columns);
            if (format == QuantFormats.BF16)
            {
                MakeBFloat16(pool, deviation);
            }
            else
            {
                SetScales(pool, deviation);
            }

            _pools.Add(columns, pool);
        }

        return pool;
    }

    /// <summary>Each value from the sum of four random bytes, which is near enough to a normal distribution.</summary>
    private void MakeBFloat16(byte[] pool, float deviation)
    {
        const float Mean = 4 * 127.5f;
        const float Deviation = 147.8f; // √(4 · (256² − 1) / 12)
        Span<byte> four = stackalloc byte[4];
        for (int i = 0; i < pool.Length; i += 2)
        {
            _random.NextBytes(four);
            float value = deviation * (four[0] + four[1] + four[2] + four[3] - Mean) / Deviation;
            BinaryPrimitives.WriteUInt16LittleEndian(pool.AsSpan(i), (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16));
        }
    }

    /// <summary>Quants stay as random as they are; the scale, a half at the start of a block, gives them their size, and its sign a mean of zero.</summary>
    private void SetScales(byte[] pool, float deviation)
    {
        float quantDeviation = format == QuantFormats.Q4_0 ? 4.64f : 73.9f; // uniform −8 … 7, −128 … 127
        int blockBytes = format.BlockBytes;
        for (int i = 0; i < pool.Length; i += blockBytes)
        {
            float scale = deviation / quantDeviation * (0.75f + (0.5f * _random.NextSingle()));
            BinaryPrimitives.WriteHalfLittleEndian(pool.AsSpan(i), (Half)(_random.Next(2) == 0 ? scale : -scale));
        }
    }
}

using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Cli;

/// <summary>How fast this machine streams memory that is in no cache: the roof over decode, which reads every weight once per token.</summary>
internal sealed class ReadBandwidth : IRangeJob
{
    private const int BlockBytes = 1 << 20;
    private const int Rounds = 7;

    private readonly byte[] _buffer;
    private ulong _sum;

    private ReadBandwidth(int blocks)
    {
        _buffer = GC.AllocateUninitializedArray<byte>(blocks * BlockBytes);
        _buffer.AsSpan().Fill(1); // a page that was never written is the same zero page everywhere, and that is in a cache
    }

    /// <summary>The best of several reads of one gigabyte (a quarter of the memory, where that is less) by <paramref name="threads"/> threads, in 10⁹ bytes per second.</summary>
    public static double MeasureGigabytesPerSecond(int threads)
    {
        int blocks = (int)Math.Clamp(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4 / BlockBytes, 64, 1024);
        var reader = new ReadBandwidth(blocks);
        using var pool = new WorkerPool(threads);
        double best = double.MaxValue;
        for (int round = 0; round < Rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            pool.Run(reader, blocks, grain: 8);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        // every byte is 1, so a read that was left out shows
        ulong expected = (ulong)Rounds * (ulong)blocks * (BlockBytes / sizeof(ulong)) * 0x0101010101010101;
        return reader._sum == expected ? (double)blocks * BlockBytes / best / 1e9 : throw new InvalidOperationException("The bandwidth test did not read what it wrote.");
    }

    void IRangeJob.Run(int first, int count)
    {
        ReadOnlySpan<byte> bytes = _buffer.AsSpan(first * BlockBytes, count * BlockBytes);
        Interlocked.Add(ref _sum, TensorPrimitives.Sum(MemoryMarshal.Cast<byte, ulong>(bytes)));
    }
}

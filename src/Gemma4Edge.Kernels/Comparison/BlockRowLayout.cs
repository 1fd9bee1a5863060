using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>Weight rows of a comparison format: block after block, each its halves and then its codes.</summary>
internal static class BlockRowLayout
{
    /// <summary>Writes a row that is already rotated.</summary>
    internal static void EncodeRow(IBlockCodec codec, ReadOnlySpan<float> x, Span<byte> row)
    {
        for (int first = 0; first < x.Length; first += codec.BlockLength)
        {
            Span<Half> scales = MemoryMarshal.Cast<byte, Half>(row[..ScaleBytes(codec)]);
            codec.Encode(first, x.Slice(first, codec.BlockLength), scales, row.Slice(ScaleBytes(codec), codec.CodeBytes));
            row = row[(ScaleBytes(codec) + codec.CodeBytes)..];
        }
    }

    /// <summary>One row, in its rotated basis.</summary>
    internal static void DecodeRow(IBlockCodec codec, ReadOnlySpan<byte> row, Span<float> x)
    {
        for (int first = 0; first < x.Length; first += codec.BlockLength)
        {
            ReadOnlySpan<Half> scales = MemoryMarshal.Cast<byte, Half>(row[..ScaleBytes(codec)]);
            codec.Decode(first, scales, row.Slice(ScaleBytes(codec), codec.CodeBytes), x.Slice(first, codec.BlockLength));
            row = row[(ScaleBytes(codec) + codec.CodeBytes)..];
        }
    }

    private static int ScaleBytes(IBlockCodec codec) => codec.ScaleCount * sizeof(ushort);
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Q6_K on NEON: sixteen bytes of nibbles and sixteen of high pairs put together, minus 32, to floats, times the scale.</summary>
/// <inheritdoc cref="Q6_KLayout"/>
internal readonly unsafe struct Q6_KNeon : INeonBlock<Q6_KNeon>
{
    private readonly byte* _block;
    private readonly float _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q6_KNeon(byte* block)
    {
        _block = block;
        _d = Q6_KLayout.Scale(block);
    }

    public static int Columns => Q6_KLayout.Columns;

    public static int Bytes => Q6_KLayout.Bytes;

    public static Q6_KNeon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        int half = column / 128, quarter = column / 32 % 4, first = column % 32;
        var scale = Vector128.Create(_d * ((sbyte*)_block)[Q6_KLayout.Scales + (column / 16)]);
        Vector128<byte> quants = Vector128.Load(_block + (64 * half) + (quarter % 2 * 32) + first);
        Vector128<byte> high = Vector128.Load(_block + Q6_KLayout.High + (32 * half) + first);
        quants = quarter < 2 ? quants & Vector128.Create((byte)15) : quants >>> 4;
        quants |= ((high >>> (2 * quarter)) & Vector128.Create((byte)3)) << 4;
        NeonBytes.ToSingle((quants - Vector128.Create((byte)32)).AsSByte(), out w0, out w1, out w2, out w3);
        w0 *= scale;
        w1 *= scale;
        w2 *= scale;
        w3 *= scale;
    }
}

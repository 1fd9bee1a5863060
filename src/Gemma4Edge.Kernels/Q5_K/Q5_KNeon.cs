using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Q5_K on NEON: sixteen bytes of nibbles and sixteen of high bits put together, to floats; w = q·scale − min in one FMA.</summary>
/// <remarks>q·scale needs 5 + 17 bits, so it is exact and the FMA rounds where the scalar reference does.</remarks>
/// <inheritdoc cref="Q5_KLayout"/>
internal readonly unsafe struct Q5_KNeon : INeonBlock<Q5_KNeon>
{
    private readonly byte* _block;
    private readonly KScales _scales;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q5_KNeon(byte* block)
    {
        _block = block;
        _scales = new KScales(block);
    }

    public static int Columns => Q5_KLayout.Columns;

    public static int Bytes => Q5_KLayout.Bytes;

    public static Q5_KNeon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        int group = column / 32;
        var scale = Vector128.Create(_scales.Scale(group));
        var offset = Vector128.Create(-_scales.Minimum(group));
        Vector128<byte> quants = Vector128.Load(_block + Q5_KLayout.Quants + (group / 2 * 32) + (column % 32));
        Vector128<byte> high = Vector128.Load(_block + Q5_KLayout.High + (column % 32));
        quants = group % 2 == 0 ? quants & Vector128.Create((byte)15) : quants >>> 4;
        quants |= ((high >>> group) & Vector128.Create((byte)1)) << 4;
        NeonBytes.ToSingle(quants.AsSByte(), out w0, out w1, out w2, out w3);
        w0 = AdvSimd.FusedMultiplyAdd(offset, w0, scale);
        w1 = AdvSimd.FusedMultiplyAdd(offset, w1, scale);
        w2 = AdvSimd.FusedMultiplyAdd(offset, w2, scale);
        w3 = AdvSimd.FusedMultiplyAdd(offset, w3, scale);
    }
}

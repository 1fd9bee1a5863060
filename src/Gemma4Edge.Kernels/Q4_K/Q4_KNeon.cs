using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_K on NEON: sixteen bytes, the group's nibble shifted down, to floats; w = q·scale − min in one FMA.</summary>
/// <remarks>q·scale needs 4 + 17 bits, so it is exact and the FMA rounds where the scalar reference does.</remarks>
/// <inheritdoc cref="Q4_KLayout"/>
internal readonly unsafe struct Q4_KNeon : INeonBlock<Q4_KNeon>
{
    private readonly byte* _block;
    private readonly KScales _scales;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q4_KNeon(byte* block)
    {
        _block = block;
        _scales = new KScales(block);
    }

    public static int Columns => Q4_KLayout.Columns;

    public static int Bytes => Q4_KLayout.Bytes;

    public static Q4_KNeon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        int group = column / 32;
        var scale = Vector128.Create(_scales.Scale(group));
        var offset = Vector128.Create(-_scales.Minimum(group));
        Vector128<byte> quants = Vector128.Load(_block + Q4_KLayout.Quants + (group / 2 * 32) + (column % 32));
        quants = group % 2 == 0 ? quants & Vector128.Create((byte)15) : quants >>> 4;
        NeonBytes.ToSingle(quants.AsSByte(), out w0, out w1, out w2, out w3);
        w0 = AdvSimd.FusedMultiplyAdd(offset, w0, scale);
        w1 = AdvSimd.FusedMultiplyAdd(offset, w1, scale);
        w2 = AdvSimd.FusedMultiplyAdd(offset, w2, scale);
        w3 = AdvSimd.FusedMultiplyAdd(offset, w3, scale);
    }
}

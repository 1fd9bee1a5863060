using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>BF16 on NEON: four weights widened to 32 bits and moved to the upper half.</summary>
internal readonly unsafe struct BF16Neon : INeonBlock<BF16Neon>
{
    private readonly short* _weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private BF16Neon(byte* block) => _weights = (short*)block;

    public static int Columns => 16;

    public static int Bytes => 32;

    public static BF16Neon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        w0 = Four(_weights + column);
        w1 = Four(_weights + column + 4);
        w2 = Four(_weights + column + 8);
        w3 = Four(_weights + column + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Four(short* weights) => (AdvSimd.SignExtendWideningLower(Vector64.Load(weights)) << 16).AsSingle();
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>What the NEON kernels share: scales, and results.</summary>
internal static unsafe class NeonPanel
{
    /// <summary>y ← fma(scale, sum, y) for the rows of a panel and one group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Accumulate(
        byte* scales, bool wide, Vector128<int> a0, Vector128<int> a1, Vector128<int> a2, Vector128<int> a3,
        ref Vector128<float> y0, ref Vector128<float> y1, ref Vector128<float> y2, ref Vector128<float> y3)
    {
        LoadScales(scales, wide, out Vector128<float> s0, out Vector128<float> s1, out Vector128<float> s2, out Vector128<float> s3);
        y0 = AdvSimd.FusedMultiplyAdd(y0, s0, AdvSimd.ConvertToSingle(a0));
        y1 = AdvSimd.FusedMultiplyAdd(y1, s1, AdvSimd.ConvertToSingle(a1));
        y2 = AdvSimd.FusedMultiplyAdd(y2, s2, AdvSimd.ConvertToSingle(a2));
        y3 = AdvSimd.FusedMultiplyAdd(y3, s3, AdvSimd.ConvertToSingle(a3));
    }

    /// <summary>The scales of a panel's rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void LoadScales(byte* scales, bool wide, out Vector128<float> s0, out Vector128<float> s1, out Vector128<float> s2, out Vector128<float> s3)
    {
        if (wide)
        {
            s0 = Vector128.Load((float*)scales);
            s1 = Vector128.Load((float*)scales + 4);
            s2 = Vector128.Load((float*)scales + 8);
            s3 = Vector128.Load((float*)scales + 12);
            return;
        }

        Vector128<short> low = Vector128.Load((short*)scales), high = Vector128.Load((short*)scales + 8);
        s1 = HalfBits.WidenedScales(AdvSimd.ShiftLeftLogicalWideningUpper(low, HalfBits.FieldShift));      // before the lower half, which then needs no copy
        s3 = HalfBits.WidenedScales(AdvSimd.ShiftLeftLogicalWideningUpper(high, HalfBits.FieldShift));
        s0 = HalfBits.WidenedScales(AdvSimd.ShiftLeftLogicalWideningLower(low.GetLower(), HalfBits.FieldShift));
        s2 = HalfBits.WidenedScales(AdvSimd.ShiftLeftLogicalWideningLower(high.GetLower(), HalfBits.FieldShift));
    }

    /// <summary>Bytes of a panel's scales for a group.</summary>
    internal static int ScaleBytes(in PanelProduct product) => TurboQuantLayout.PanelRows * (product.WideScales ? sizeof(float) : sizeof(ushort));

    /// <summary>Writes a panel's results, fewer where it is the last.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void Store(in PanelProduct product, int panel, int token, Vector128<float> y0, Vector128<float> y1, Vector128<float> y2, Vector128<float> y3)
    {
        int row = panel * TurboQuantLayout.PanelRows;
        float* y = product.Y + ((long)token * product.YStride) + row;
        if (row + TurboQuantLayout.PanelRows <= product.Rows)
        {
            Scale(y, product.X.Scales[token], y0, y1, y2, y3);
            return;
        }

        float* all = stackalloc float[TurboQuantLayout.PanelRows];
        Scale(all, product.X.Scales[token], y0, y1, y2, y3);
        new Span<float>(all, product.Rows - row).CopyTo(new Span<float>(y, product.Rows - row));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(float* y, float scale, Vector128<float> y0, Vector128<float> y1, Vector128<float> y2, Vector128<float> y3)
    {
        (y0 * scale).Store(y);
        (y1 * scale).Store(y + 4);
        (y2 * scale).Store(y + 8);
        (y3 * scale).Store(y + 12);
    }
}

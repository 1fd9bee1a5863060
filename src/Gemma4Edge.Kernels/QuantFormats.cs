using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Kernels;

/// <summary>The table of weight formats. A row is the whole registration of a format: reader, selection, tests and benchmarks go through it.</summary>
/// <remarks>Names, numbers and blocks are ggml's. Each format's folder says what a block looks like. Immutable, safe on any thread.</remarks>
public static class QuantFormats
{
    /// <summary>IEEE single precision.</summary>
    public static QuantFormat F32 { get; } = Row("f32", 0, 1, 4, new Avx2Kernel<F32Avx2>(), new ScalarKernel<F32Scalar>());

    /// <summary>IEEE half precision.</summary>
    public static QuantFormat F16 { get; } = Row("f16", 1, 1, 2, new Avx2Kernel<F16Avx2>(), new ScalarKernel<F16Scalar>());

    /// <summary>bfloat16: the upper half of a single.</summary>
    public static QuantFormat BF16 { get; } = Row("bf16", 30, 1, 2, new Avx2Kernel<BF16Avx2>(), new ScalarKernel<BF16Scalar>());

    /// <summary>8 bits, one scale for 32 weights.</summary>
    public static QuantFormat Q8_0 { get; } = Row("q8_0", 8, Q8_0Layout.Columns, Q8_0Layout.Bytes, new Avx2Kernel<Q8_0Avx2>(), new ScalarKernel<Q8_0Scalar>());

    /// <summary>4 bits, one scale for 32 weights.</summary>
    public static QuantFormat Q4_0 { get; } = Row("q4_0", 2, Q4_0Layout.Columns, Q4_0Layout.Bytes, new Avx2Kernel<Q4_0Avx2>(), new ScalarKernel<Q4_0Scalar>());

    /// <summary>4 bits, scale and minimum for 32 weights, super-blocks of 256.</summary>
    public static QuantFormat Q4_K { get; } = Row("q4_k", 12, Q4_KLayout.Columns, Q4_KLayout.Bytes, new Avx2Kernel<Q4_KAvx2>(), new ScalarKernel<Q4_KScalar>());

    /// <summary>5 bits, scale and minimum for 32 weights, super-blocks of 256.</summary>
    public static QuantFormat Q5_K { get; } = Row("q5_k", 13, Q5_KLayout.Columns, Q5_KLayout.Bytes, new Avx2Kernel<Q5_KAvx2>(), new ScalarKernel<Q5_KScalar>());

    /// <summary>6 bits, scale for 16 weights, super-blocks of 256.</summary>
    public static QuantFormat Q6_K { get; } = Row("q6_k", 14, Q6_KLayout.Columns, Q6_KLayout.Bytes, new Avx2Kernel<Q6_KAvx2>(), new ScalarKernel<Q6_KScalar>());

    /// <summary>Every format, plain floats first.</summary>
    public static IReadOnlyList<QuantFormat> All { get; } = [F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K];

    /// <summary>Finds the format of a GGUF tensor entry's type number.</summary>
    public static bool TryFromGgmlType(int ggmlType, [NotNullWhen(true)] out QuantFormat? format)
    {
        format = All.FirstOrDefault(f => f.GgmlType == ggmlType);
        return format is not null;
    }

    /// <summary>Finds a format by its lower-case name.</summary>
    public static bool TryFromName(string name, [NotNullWhen(true)] out QuantFormat? format)
    {
        format = All.FirstOrDefault(f => f.Name == name);
        return format is not null;
    }

    private static QuantFormat Row(string name, int ggmlType, int blockColumns, int blockBytes, params IReadOnlyList<IWeightKernel> kernels) =>
        new() { Name = name, GgmlType = ggmlType, BlockColumns = blockColumns, BlockBytes = blockBytes, Kernels = kernels };
}

using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class CpuKernelsTests
{
    [Fact]
    public void Select_TakesTheBestSupported_WhenNothingIsRequested()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable(CpuKernels.EnvironmentVariable) is not null, "The environment requests a kernel.");
        CpuKernels kernels = CpuKernels.Select(null);
        Assert.Equal(QuantFormats.F32.Kernels.First(k => k.IsSupported).Name, kernels.Name);
        Assert.All(QuantFormats.All, format => Assert.Equal(kernels.Name, kernels.For(format).Name));
    }

    [Fact]
    public void Select_TakesTheRequested() => Assert.Equal("scalar", CpuKernels.Select("scalar").Name);

    [Fact]
    public void Select_ListsTheKnown_WhenTheNameIsUnknown()
    {
        var error = Assert.Throws<ArgumentException>(() => CpuKernels.Select("sse2"));
        Assert.StartsWith("Unknown kernel 'sse2'. Known: avx2, neon, scalar.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Select_SaysSo_WhenTheCpuLacksIt()
    {
        string foreign = QuantFormats.F32.Kernels.First(k => !k.IsSupported).Name;
        var error = Assert.Throws<PlatformNotSupportedException>(() => CpuKernels.Select(foreign));
        Assert.Equal($"Kernel '{foreign}' needs instructions this CPU lacks.", error.Message);
    }
}

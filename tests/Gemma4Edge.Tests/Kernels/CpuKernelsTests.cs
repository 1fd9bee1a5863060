using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class CpuKernelsTests
{
    [Fact]
    public void Select_TakesTheBestSupported_WhenNothingIsRequested()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable(CpuKernels.EnvironmentVariable) is not null, "The environment requests a kernel.");
        CpuKernels kernels = CpuKernels.Select(null);
        Assert.Equal(ITurboQuantKernel.All.First(k => k.IsSupported).Name, kernels.Name);
        Assert.Equal(kernels.Name, kernels.TurboQuant.Name);
        Assert.All(QuantFormats.All, format => Assert.Equal(format.Kernels.First(k => k.IsSupported).Name, kernels.For(format).Name));
        Assert.All(QuantFormats.All.Where(format => format.TakesInt8), format => Assert.Equal(kernels.Name, kernels.Int8For(format)?.Name));
    }

    [Fact]
    public void Select_TakesTheRequested()
    {
        CpuKernels kernels = CpuKernels.Select("scalar");
        Assert.Equal("scalar", kernels.Name);
        Assert.Equal("scalar", kernels.TurboQuant.Name);
        Assert.Equal("scalar", kernels.Hadamard.Name);
        Assert.All(QuantFormats.All, format => Assert.Equal("scalar", kernels.For(format).Name));
        Assert.Equal("scalar", kernels.Int8For(QuantFormats.Q4_0)?.Name);
        Assert.Null(kernels.Int8For(QuantFormats.Q4_K));
    }

    [Fact]
    public void Select_ListsTheKnown_WhenTheNameIsUnknown()
    {
        var error = Assert.Throws<ArgumentException>(() => CpuKernels.Select("sse2"));
        Assert.StartsWith("Unknown kernel 'sse2'. Known: avx-vnni, avx2, neon-dotprod, neon, scalar.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Select_SaysSo_WhenTheCpuLacksIt()
    {
        string foreign = ITurboQuantKernel.All.First(k => !k.IsSupported).Name;
        var error = Assert.Throws<PlatformNotSupportedException>(() => CpuKernels.Select(foreign));
        Assert.Equal($"Kernel '{foreign}' needs instructions this CPU lacks.", error.Message);
    }
}

using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public sealed class TurboQuantFileTests
{
    [Theory]
    [InlineData("scheme=tq", "scheme=tz")]
    [InlineData("bits=4", "bits=9")]
    [InlineData("bits=4", "bits=3")]
    [InlineData("rotation=128", "rotation=96")]
    [InlineData("group=128", "group=256")]
    [InlineData("shape=256x128", "shape=256x160")]
    [InlineData("shape=256x128", "shape=2147483647x65504")]
    [InlineData("shape=256x128", "shape=256")]
    [InlineData("levels=-61", "levels=-99")]
    [InlineData("seed=5", "seed=-5")]
    [InlineData("seed=5", "seed=5 seed=5")]
    [InlineData("seed=5", "seed=5 other=1")]
    public void Parse_RefusesWhatDoesNotFit(string found, string damaged)
    {
        var format = Gemma4Edge.Kernels.TurboQuantFormats.Tq(4, 128, 5);
        string text = TurboQuantKeys.Describe(format, [256, 128], diagonal: null);
        Assert.Contains(found, text, StringComparison.Ordinal);
        long bytes = format.MatrixBytes(256, 128);
        Assert.Equal([256, 128], TurboQuantKeys.Parse(text, bytes).Shape);
        Assert.Throws<FormatException>(() => TurboQuantKeys.Parse(text.Replace(found, damaged, StringComparison.Ordinal), bytes));
        Assert.Throws<FormatException>(() => TurboQuantKeys.Parse(text, bytes - 1));
    }
}

using Gemma4Edge.Kernels;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>What becomes of rows that a format cannot hold.</summary>
public sealed class FormatChoiceTests
{
    private const string Name = "layers.0.mlp.down_proj.weight";

    [Theory]
    [InlineData(1536, "tq4-128")]
    [InlineData(48, "bf16")]    // no multiple of 32
    [InlineData(65536, "tq4-128")]
    [InlineData(65664, "bf16")] // kernels keep a row on their stack: TurboQuantDescriptor.MaxColumns
    public void Rows_ThatDoNotFit_StayFloats(int columns, string expected) =>
        Assert.Equal(expected, Choice(new ConversionOptions { Weights = "tq4" }).Of(Name, columns, () => null).Name);

    [Theory]
    [InlineData(48)]
    [InlineData(65664)]
    public void AskedFor_TheyAreAnError(int columns)
    {
        FormatChoice choice = Choice(new ConversionOptions { Tensors = [new(Name, "tq4")] });
        var error = Assert.Throws<ConversionException>(() => choice.Of(Name, columns, () => null));
        Assert.Contains($"rows of {columns} weights, which do not fit tq4", error.Message, StringComparison.Ordinal);
    }

    private static FormatChoice Choice(ConversionOptions options)
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        return new FormatChoice(options, model.Config);
    }
}

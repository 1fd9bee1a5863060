using System.Text.Json;
using Gemma4Edge.Service.Tools;

namespace Gemma4Edge.Tests.Service;

public class ToolSchemaTests
{
    private const string Light = """
        {"type":"object","properties":{
          "area":{"type":"string","enum":["kitchen","office"]},"on":{"type":"boolean"},"level":{"type":"integer","minimum":0,"maximum":100,"multipleOf":5},
          "note":{"type":"string","minLength":2,"maxLength":4,"pattern":"^[a-z]+$"},"mood":{"const":"calm"},"warm":{"type":["number","null"],"exclusiveMinimum":0,"exclusiveMaximum":1},
          "rgb":{"type":"array","items":{"type":"integer","minimum":0,"maximum":255},"minItems":3,"maxItems":3},"tags":{"type":"array","uniqueItems":true},
          "fade":{"type":"object","properties":{"seconds":{"type":"number"}},"required":["seconds"]},"old":{"type":"string","nullable":true},"free":{"type":"object","additionalProperties":true}},
         "required":["area"]}
        """;

    [Theory]
    [InlineData("""{"area":"kitchen"}""")]
    [InlineData("""{"area":"office","on":false,"level":100,"note":"ab","mood":"calm","warm":0.5,"rgb":[1,2,3],"tags":["a","b"],"fade":{"seconds":1.5},"old":null,"free":{"any":1}}""")]
    [InlineData("""{"area":"kitchen","level":5.0,"warm":null,"note":"äöü"}""", "note")] // outside a-z
    [InlineData("""{"area":"kitchen","warm":0.001}""")]
    [InlineData("[]", "expected an object")]
    [InlineData("{}", "arguments.area is missing")]
    [InlineData("""{"area":"attic"}""", "one of \"kitchen\", \"office\", found \"attic\"")]
    [InlineData("""{"area":"kitchen","on":"true"}""", "arguments.on: expected true or false, found \"true\"")]
    [InlineData("""{"area":"kitchen","level":5.5}""", "arguments.level: expected a whole number from 0 to 100, found 5.5")]
    [InlineData("""{"area":"kitchen","level":105}""", "from 0 to 100, found 105")]
    [InlineData("""{"area":"kitchen","level":-5}""", "from 0 to 100")]
    [InlineData("""{"area":"kitchen","level":7}""", "a multiple of 5")]
    [InlineData("""{"area":"kitchen","level":1e999}""", "level")]
    [InlineData("""{"area":"kitchen","note":"a"}""", "2 to 4 characters, found 1")]
    [InlineData("""{"area":"kitchen","note":"abcde"}""", "found 5")]
    [InlineData("""{"area":"kitchen","note":"A1"}""", "fits ^[a-z]+$")]
    [InlineData("""{"area":"kitchen","mood":"wild"}""", "expected \"calm\"")]
    [InlineData("""{"area":"kitchen","warm":0}""", "above 0 below 1")]
    [InlineData("""{"area":"kitchen","warm":1}""", "above 0 below 1")]
    [InlineData("""{"area":"kitchen","rgb":[1,2]}""", "3 to 3 items, found 2")]
    [InlineData("""{"area":"kitchen","rgb":[1,2,256]}""", "arguments.rgb[2]: expected a whole number from 0 to 255")]
    [InlineData("""{"area":"kitchen","tags":[1,1.0]}""", "no item twice")]
    [InlineData("""{"area":"kitchen","fade":{}}""", "arguments.fade.seconds is missing")]
    [InlineData("""{"area":"kitchen","fade":{"seconds":"2"}}""", "arguments.fade.seconds: expected a number")]
    [InlineData("""{"area":"kitchen","room":"x"}""", "arguments.room: there is no such argument; expected area, on,")]
    [InlineData("""{"area":null}""", "expected a string, found null")]
    public void Call_IsChecked(string arguments, string? problem = null)
    {
        ToolSchema schema = ToolSchema.ReadArguments(JsonDocument.Parse(Light).RootElement, "tool");
        string? found = schema.Problem(JsonDocument.Parse(arguments).RootElement, "arguments");
        if (problem is null)
        {
            Assert.Null(found);
        }
        else
        {
            Assert.Contains(problem, found, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{"format":"date"}}}""", "tool.properties.a.format")]
    [InlineData("""{"type":"object","properties":{"a":{"anyOf":[]}}}""", "anyOf")]
    [InlineData("""{"type":"object","properties":{"a":{"$ref":"#/x"}}}""", "$ref")]
    [InlineData("""{"type":"object","if":{}}""", "tool.if")]
    [InlineData("""{"type":"array"}""", "tool.type: expected object")]
    [InlineData("""{"type":"objekt"}""", "tool.type: expected object, array")]
    [InlineData("""{"type":"object","required":["b"]}""", "'b' is none of the properties")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"string","pattern":"("}}}""", "tool.properties.a.pattern")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer","default":"x"}}}""", "tool.properties.a.default: expected a whole number")]
    [InlineData("""{"type":"object","additionalProperties":{"type":"string"}}""", "additionalProperties: expected true or false")]
    [InlineData("""{"type":"object","properties":[]}""", "tool.properties: expected an object")]
    public void Schema_WithAWordThatIsNotChecked_IsRefused(string schema, string place) => Assert.Contains(
        place, Assert.Throws<FormatException>(() => ToolSchema.ReadArguments(JsonDocument.Parse(schema).RootElement, "tool")).Message, StringComparison.Ordinal);

    [Fact]
    public void Pattern_ThatTakesTooLong_RefusesTheCall()
    {
        const string Slow = """{"type":"object","properties":{"a":{"type":"string","pattern":"^(a+)+$"}}}""";
        ToolSchema schema = ToolSchema.ReadArguments(JsonDocument.Parse(Slow).RootElement, "tool");
        string? problem = schema.Problem(JsonDocument.Parse($$"""{"a":"{{new string('a', 60)}}!"}""").RootElement, "arguments");
        Assert.Contains("too long", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void ToolWithoutParameters_TakesNone()
    {
        ToolSchema schema = ToolSchema.ReadArguments(null, "tool");
        Assert.Null(schema.Problem(JsonDocument.Parse("{}").RootElement, "arguments"));
        Assert.Contains("expected none", schema.Problem(JsonDocument.Parse("""{"a":1}""").RootElement, "arguments"), StringComparison.Ordinal);
    }
}

using System.Text;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Tools;

namespace Gemma4Edge.Tests.Service;

/// <summary>Tool files with a publish action: what is read, what is refused, what a call sends.</summary>
public sealed class PublishActionTests : IDisposable
{
    private const string Parameters = """
        {"type":"object","properties":{"area":{"type":"string"},"on":{"type":"boolean"},"level":{"type":"number"},"name":{"type":"string"},
         "speed":{"type":"integer","default":3},"rgb":{"type":"array","items":{"type":"integer"}}},"required":["area"]}
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-tools").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("""{"state":"{on}"}""", """{"area":"a","on":true}""", """{"state":true}""")]                            // types stay
    [InlineData("""{"state":"{on}","level":"{level}"}""", """{"area":"a","level":21.0}""", """{"level":21.0}""")]       // absent: left out
    [InlineData("""{"a":{"b":["{level}",1,null,"x {area} y"]}}""", """{"area":"k","level":2}""", """{"a":{"b":[2,1,null,"x k y"]}}""")]
    [InlineData("""{"text":"{name}"}""", """{"area":"a","name":"say \"hi\" {on}\n"}""", """{"text":"say \"hi\" {on}\n"}""")] // values are no templates
    [InlineData("""{"rgb":"{rgb}"}""", """{"area":"a","rgb":[1,2]}""", """{"rgb":[1,2]}""")]
    [InlineData("""{"speed":"{speed}","text":"{{area}} at {speed}"}""", """{"area":"a"}""", """{"speed":3,"text":"{area} at 3"}""")] // the default
    [InlineData("\"{area} {speed}\"", """{"area":"x \"y\""}""", "x \"y\" 3")]                                           // plain text
    [InlineData("\"ON\"", """{"area":"a"}""", "ON")]
    [InlineData("""["{on}"]""", """{"area":"a","on":false}""", "[false]")]
    [InlineData("5", """{"area":"a"}""", "5")]
    [InlineData("""{"scene":"x","level":"{level}"}""", """{"area":"a"}""", """{"scene":"x"}""")]
    public async Task Payload_IsFilled(string payload, string arguments, string sent) =>
        Assert.Equal(("home/" + Area(arguments) + "/light", sent), Sent(await SendAsync($$"""{"topic":"home/{area}/light","payload":{{payload}}}""", arguments)));

    [Fact]
    public async Task Map_PutsOtherWordsInTheirPlace()
    {
        const string Publish = """{"topic":"home/{area}/light","payload":{"state":"{on}","level":"{level}"},"map":{"on":{"true":"ON","false":"OFF"},"area":{"living room":"living"},"level":{"50":"half"}}}""";
        Assert.Equal(("home/living/light", """{"state":"ON","level":"half"}"""), Sent(await SendAsync(Publish, """{"area":"living room","on":true,"level":50}""")));
        Assert.Equal(("home/hall/light", """{"state":"OFF","level":51}"""), Sent(await SendAsync(Publish, """{"area":"hall","on":false,"level":51}""")));
    }

    [Fact]
    public async Task RetainAndQos_AreTaken()
    {
        OutboundMessage plain = await SendAsync("""{"topic":"home/x","payload":1}""", """{"area":"a"}""");
        Assert.Equal((false, true), (plain.Retain, plain.AtLeastOnce));
        OutboundMessage kept = await SendAsync("""{"topic":"home/x","payload":1,"retain":true,"qos":0}""", """{"area":"a"}""");
        Assert.Equal((true, false), (kept.Retain, kept.AtLeastOnce));
    }

    [Theory]
    [InlineData("""{"area":"kitchen/../door"}""", "without / + and #")]
    [InlineData("""{"area":"+"}""", "without / + and #")]
    [InlineData("""{"area":"#"}""", "without / + and #")]
    [InlineData("""{"area":""}""", "found nothing")]
    [InlineData("""{"area":"  "}""", "without / + and #")]
    [InlineData("""{"area":"a\u0000b"}""", "holds a character that no topic may hold")]
    [InlineData("""{"area":"a\nb"}""", "holds a character that no topic may hold")]
    [InlineData("""{"area":"attic"}""", "home/attic/light is not allowed: Tools:AllowTopics has home/kitchen/+")]
    [InlineData("""{"area":"kitchen"}""", "nothing is asked for; expected at least one of on, level")]
    public void Arguments_ThatLeadElsewhere_AreRefused(string arguments, string problem)
    {
        DeclaredTool tool = Load("""{"publish":{"topic":"home/{area}/light","payload":{"on":"{on}","level":"{level}"}}}""", "home/kitchen/+");
        Assert.Contains(problem, Assert.Throws<FormatException>(() => tool.Action!.Prepare(JsonDocument.Parse(arguments).RootElement)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("$SYS")]
    [InlineData("gemma4edge")]
    public void Arguments_CannotReachTheBrokersOrTheNodesOwnTopics(string area)
    {
        DeclaredTool tool = Load("""{"publish":{"topic":"{area}/kitchen/config/enabled/set","payload":"OFF"}}""", "#", "+/kitchen/#");
        string problem = Assert.Throws<FormatException>(() => tool.Action!.Prepare(JsonDocument.Parse($$"""{"area":"{{area}}"}""").RootElement)).Message;
        Assert.Contains($"topics under {area} are not for tools", problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"publish":{"topic":"home/{room}/light","payload":"x"}}""", "action.publish.topic: the tool has no parameter 'room'; it has area, on")]
    [InlineData("""{"publish":{"topic":"home/{on}/light","payload":"x"}}""", "action.publish.topic: 'on' must be in every call")]
    [InlineData("""{"publish":{"topic":"home/x","payload":"{level}"}}""", "action.publish.payload: 'level' must be in every call")]
    [InlineData("""{"publish":{"topic":"home/x","payload":{"a":"{lvl}"}}}""", "no parameter 'lvl'")]
    [InlineData("""{"publish":{"topic":"home/x","payload":{"a":"{level"}}}""", "action.publish.payload.a: '{level' has a brace without a partner")]
    [InlineData("""{"publish":{"topic":"home/x}","payload":1}}""", "brace")]
    [InlineData("""{"publish":{"topic":"home/{}","payload":1}}""", "brace")]
    [InlineData("""{"publish":{"topic":"home/+","payload":1}}""", "is no topic to publish on")]
    [InlineData("""{"publish":{"topic":"garden/x","payload":1}}""", "'garden/x' is not allowed: Tools:AllowTopics has home/#")]
    [InlineData("""{"publish":{"topic":"gemma4edge/kitchen/request","payload":1}}""", "topics under gemma4edge are not for tools")]
    [InlineData("""{"publish":{"topic":"home/x"}}""", "action.publish.payload is missing")]
    [InlineData("""{"publish":{"payload":"x"}}""", "action.publish.topic is missing")]
    [InlineData("""{"publish":{"topic":"home/x","payload":1,"qos":2}}""", "action.publish.qos: expected 0 or 1")]
    [InlineData("""{"publish":{"topic":"home/x","payload":1,"retained":true}}""", "action.publish has no key 'retained'; allowed are topic, payload, map, retain, qos")]
    [InlineData("""{"publish":{"topic":"home/x","payload":1,"map":{"room":{}}}}""", "action.publish.map.room: the tool has no parameter")]
    [InlineData("""{"publish":{"topic":"home/x","payload":1,"map":{"on":{"true":[]}}}}""", "action.publish.map.on.true: expected a string, a number, true or false")]
    [InlineData("""{"gpio":{"pin":17}}""", "action: expected exactly one of publish, found gpio")]
    [InlineData("{}", "action: expected exactly one of publish, found nothing")]
    public void WrongAction_NamesFileAndKey(string action, string problem)
    {
        string message = Assert.Throws<ConfigurationException>(() => Load(action, "home/#")).Message;
        Assert.StartsWith(Path.Combine(_folder, "tool.json"), message, StringComparison.Ordinal);
        Assert.Contains(problem, message, StringComparison.Ordinal);
    }

    [Fact]
    public void WrongSchema_OfAToolThatActs_NamesFileAndKey()
    {
        File.WriteAllText(Path.Combine(_folder, "tool.json"), """{"name":"t","parameters":{"type":"object","oneOf":[]},"action":{"publish":{"topic":"home/x","payload":1}}}""");
        string message = Assert.Throws<ConfigurationException>(() => ToolFiles.Load(new ToolsOptions { Path = _folder, AllowTopics = ["home/#"] })).Message;
        Assert.StartsWith($"{Path.Combine(_folder, "tool.json")}.parameters.oneOf", message, StringComparison.Ordinal);
        Assert.Equal("t", Assert.Single(ToolFiles.Load(_folder)).Name); // who only declares it, as run --tools, need not mind
    }

    [Theory]
    [InlineData("""{"name":"t","parameters":{"type":"object","properties":{"a":{"type":"strin"}}}}""", ".parameters.properties.a.type: expected object, array")]
    [InlineData("""{"name":"t","parameters":{"type":"object","properties":{"a":{"type":"string"}},"required":["b"]}}""", ".parameters.required: 'b' is none")]
    [InlineData("""{"name":"t","parameters":{"type":"object","properties":{"a":{"items":{"type":"int"}}}}}""", ".parameters.properties.a.items.type: expected")]
    [InlineData("""{"name":"t","parameters":{"type":"array"}}""", ".parameters.type: expected object")]
    [InlineData("""{"type":"function","function":{"name":"t","parameters":{"type":"object","properties":{"a":"string"}}}}""", ".function.parameters.properties.a: expected an object")]
    [InlineData("""{"name":"t","parameters":{"type":"object","properties":{"a":{"anyOf":[{"type":"string"}]},"b":true,"c":{"format":"date"}},"required":["a","b"]}}""")]
    [InlineData("""{"name":"t","parameters":{"type":"object","$ref":"#/x","required":["a"],"additionalProperties":{"type":"string"}}}""")]
    [InlineData("""{"name":"t"}""")]
    public void Schema_OfAToolThatIsOnlyDeclared_IsRefusedWherePlainlyWrong(string tool, string? problem = null)
    {
        string file = Path.Combine(_folder, "tool.json");
        File.WriteAllText(file, tool);
        Exception? thrown = Record.Exception(() => ToolFiles.Load(new ToolsOptions { Path = _folder }));
        if (problem is null)
        {
            Assert.Null(thrown);
        }
        else
        {
            Assert.StartsWith($"{file}{problem}", Assert.IsType<ConfigurationException>(thrown).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("home/#", "home", true)]
    [InlineData("home/#", "home/a/b", true)]
    [InlineData("home/#", "homes/a", false)]
    [InlineData("home/+/light", "home/a/light", true)]
    [InlineData("home/+/light", "home/a/b/light", false)]
    [InlineData("home/+", "home", false)]
    [InlineData("+/a", "$SYS/a", false)]
    [InlineData("#", "$SYS/a", false)]
    [InlineData("$SYS/#", "$SYS/a", true)]
    [InlineData("home/a", "home/{x}", true)]
    [InlineData("home/a/b", "home/{x}", false)]
    public void TopicFilter_FitsAsTheBrokerSays(string filter, string topic, bool fits) =>
        Assert.Equal(fits, new TopicFilter(filter).Fits([.. topic.Split('/').Select(level => level == "{x}" ? null : level)]));

    [Theory]
    [InlineData("home/#", true)]
    [InlineData("#", true)]
    [InlineData("", false)]
    [InlineData("home/#/x", false)]
    [InlineData("home/a#", false)]
    [InlineData("home/a+", false)]
    public void TopicFilter_IsRecognised(string text, bool isFilter) => Assert.Equal(isFilter, TopicFilter.IsFilter(text));

    private static (string Topic, string Payload) Sent(OutboundMessage message) => (message.Topic, Encoding.UTF8.GetString(message.Payload));

    private static string Area(string arguments) => JsonDocument.Parse(arguments).RootElement.GetProperty("area").GetString()!;

    private async Task<OutboundMessage> SendAsync(string publish, string arguments)
    {
        OutboundMessage? sent = null;
        var context = new ActionContext((message, _) =>
        {
            sent = message;
            return Task.CompletedTask;
        });
        await Load($$"""{"publish":{{publish}}}""", "home/#").Action!.Prepare(JsonDocument.Parse(arguments).RootElement).DoAsync(context, TestContext.Current.CancellationToken);
        return sent!;
    }

    private DeclaredTool Load(string action, params string[] allowed)
    {
        File.WriteAllText(Path.Combine(_folder, "tool.json"), $$"""{"name":"set_light","description":"","parameters":{{Parameters}},"action":{{action}}}""");
        return Assert.Single(ToolFiles.Load(new ToolsOptions { Path = _folder, AllowTopics = allowed }));
    }
}

"""Sentences of many languages, and the encodings that such texts are found in."""

from __future__ import annotations

WESTERN = "latin1 cp1252 iso-8859-15 mac-roman cp850"
CENTRAL = "iso-8859-2 cp1250"
CYRILLIC = "cp1251 koi8-r iso-8859-5 cp866 mac-cyrillic"
LANGUAGES = {  # encodings, a text
    "German": (WESTERN, "Müller flog über Köln nach Zürich. Die Straße ist groß, schön und für alle geöffnet."),
    "French": (WESTERN, "L'été dernier, la fenêtre était fermée à clé. Où êtes-vous allés, François ? Ça va être fâcheux."),
    "Spanish": (WESTERN, "El niño pequeño comió más de lo que debía. ¿Cuándo volverá mañana el señor Muñoz?"),
    "Portuguese": (WESTERN, "A educação não é só uma questão de opinião. São Paulo está à frente."),
    "Italian": ("latin1 cp1252 mac-roman", "Perché la città è così bella? Però non c'è più tempo."),
    "Swedish": (WESTERN, "Göran åkte till Malmö på lördag för att köpa ägg."),
    "Danish": ("latin1 cp1252 mac-roman", "Søren spiste rødgrød på åen. Kære læser."),
    "Icelandic": ("latin1 cp1252", "Það er gott að búa í Reykjavík, þegar sólin skín á öllum."),
    "names": (
        "latin1 cp1252 cp850",
        "Lyon, Orléans, Müller, Peña, Gonçalves, Søren and Björn Åkesson met in Düsseldorf.",
    ),
    "quotes": ("cp1252", "„Müller“ said he’d go – “Zürich” was fine, and the café, too"),
    "Polish": (f"{CENTRAL} cp852", "Żółw poszedł do szkoły w Łodzi, gdzie się uczył. Wziął książkę i zrobił ćwiczenie."),
    "Czech": (f"{CENTRAL} cp852", "Příliš žluťoučký kůň úpěl ďábelské ódy. Česká republika leží ve střední Evropě."),
    "Hungarian": (f"{CENTRAL} cp852", "Az őszi erdőben sétált a hűvös időben. Két férfi jött Győrből a könyvtárba."),
    "Romanian": (CENTRAL, "Aş vrea să ştiu dacă ţara aceasta este frumoasă în toamnă."),
    "Croatian": (CENTRAL, "Šime je rođen u Šibeniku, a živi u Čakovcu već dvadeset godina."),
    "Turkish": ("iso-8859-9 cp1254", "İstanbul'da yaşıyor ve öğretmen olarak çalışıyor. Güneş doğdu, şehir uyandı."),
    "Lithuanian": ("cp1257 iso-8859-13", "Lietuvoje gyvena žmonės, kurie kalba lietuviškai. Šiandien ąžuolas čia auga."),
    "Latvian": ("cp1257 iso-8859-13", "Latvijā dzīvo cilvēki, kas runā latviešu valodā. Šodien ķēniņš brauc."),
    "Russian": (CYRILLIC, "Президент России приехал в Москву. Сегодня хорошая погода, и дети играют в парке."),
    "Russian, small": ("cp1251 koi8-r iso-8859-5 cp866", "вчера вечером мы ходили гулять по городу"),
    "Ukrainian": ("cp1251 koi8-u iso-8859-5", "Київ є столицею України. Він розташований на берегах Дніпра."),
    "Bulgarian": ("cp1251 iso-8859-5", "България е държава в Европа. Днес времето е хубаво и децата играят в парка."),
    "Serbian": ("cp1251 iso-8859-5", "Београд је главни град Србије. Људи живе поред реке и ћаскају."),
    "Greek": ("iso-8859-7 cp1253 cp737", "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας. Σήμερα ο καιρός είναι καλός."),
    "Hebrew": ("iso-8859-8 cp1255 cp862", "ירושלים היא בירת ישראל. היום מזג האוויר יפה והילדים משחקים בגן."),
    "Arabic": ("cp1256 iso-8859-6", "القاهرة هي عاصمة مصر. الطقس جميل اليوم والأطفال يلعبون في الحديقة."),
    "Thai": ("tis-620 cp874", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย วันนี้อากาศดีและเด็กๆ เล่นในสวน"),
    "Japanese": ("shift_jis cp932 euc-jp", "東京は日本の首都です。 今日は天気がいいので、 子供たちは公園で遊んでいます。"),
    "katakana": ("shift_jis euc-jp", "アメリカのニューヨークでコンピュータの会議があった。"),
    "Chinese": ("gbk gb2312 gb18030", "北京是中国的首都。今天天气很好, 孩子们在公园里玩。他们说明天也要来。"),
    "words of Chinese": ("gbk", "张伟 出生 于 上海 , 他 在 北京 的 一 家 公司 工作 。"),
    "Chinese of Taiwan": ("big5 cp950", "臺北是臺灣的首都。今天天氣很好， 孩子們在公園裡玩。他們說明天也要來。"),
    "Korean": ("euc-kr cp949", "서울은 대한민국의 수도이다. 오늘은 날씨가 좋아서 아이들이 공원에서 놀고 있다."),
}
SHORT = {
    "a name": ("latin1 cp1252 cp850", "Ünsal won in Zürich"),
    "one letter": ("latin1 cp850 mac-roman iso-8859-2", "café"),
    "an apostrophe": ("cp1252 mac-roman", "they don’t go"),
    "signs": ("latin1 cp1252", "It costs £5 at 10°"),
    "a letter of several": ("iso-8859-2", "zrobię"),
    "a city": ("cp1251 koi8-r iso-8859-5 cp866", "Москва"),
    "two signs": ("shift_jis euc-jp", "東京へ行く"),
    "a people": ("gbk", "中国人民"),
    "a country": ("euc-kr", "대한민국"),
    "a republic": ("big5", "中華民國"),
}
